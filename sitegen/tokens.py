"""`skipjack-manager token`: create, list, rotate and revoke tokens. Each is printed once and stored as a digest."""

import secrets
import time

from schemas.errors import SkipjackError
from schemas.names import is_name
from schemas.records import ManagerSettings
from schemas.standard_streams import WARNING
from sitegen import audit, output
from sitegen.audit import moment
from sitegen.messages.model import AuditEntry
from sitegen.storage import token_store
from sitegen.storage.store import Store

_BYTES = 32
"""Random bytes of a token: so many need no salt and no slow hash, and a digest can be looked up."""

_SEE_LIST = "`skipjack-manager token list` shows all tokens."


def add(settings: ManagerSettings, name: str, scope: str) -> None:
    """Create a token and print it alone on stdout, so that it can be piped; SkipjackError if `name` is not valid."""
    if not is_name(name):
        raise SkipjackError(f"`{name}` is not a valid name for a token.", "Use letters, digits, `.`, `_` and `-`.")
    secret = secrets.token_urlsafe(_BYTES)
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        number = token_store.add(store, name, scope, token_store.digest_of(secret), _by("token add"))
        declared = store.declared() if scope == "worker" else None
    _print(secret, number)
    if scope == "worker" and declared is None:
        output.note(f"Cannot check that `_workers.yml` has a worker `{name}`: `publish` has not read it yet.")
    if declared is not None and name not in declared.workers:
        known = ", ".join(f"`{each}`" for each in sorted(declared.workers)) or "none"
        what = f"`_workers.yml` has no worker `{name}` (it has: {known})."
        todo = f"Add it there, or revoke this token: `skipjack-manager token revoke {number}`."
        output.log(f"{what} {todo}", WARNING)
    output.note(f"Token {number} for {scope} {name}. It is not shown again: store it in a file.")


def rotate(settings: ManagerSettings, number: int, keep: float) -> None:
    """Create a token that replaces token `number`, and print it; the old one stays valid for `keep` more seconds.

    SkipjackError if no valid token has this number.
    """
    secret = secrets.token_urlsafe(_BYTES)
    by = _by("token rotate")
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        new = token_store.rotate(store, number, token_store.digest_of(secret), keep, by)
    if new is None:
        raise SkipjackError(f"there is no valid token {number}.", _SEE_LIST)
    _print(secret, new.id)
    output.note(
        f"Token {new.id} for {new.scope} {new.name}. Token {number} is valid until {moment(by.at + keep)} at most."
    )


def _print(secret: str, number: int) -> None:
    try:
        output.result(secret)
    except OSError:
        # The token is stored already, but its secret is lost.
        output.note(f"Could not print token {number}. Revoke it: `skipjack-manager token revoke {number}`.")
        raise


def show(settings: ManagerSettings) -> None:
    """Print a table of all tokens."""
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        tokens = token_store.every(store)
    output.result(f"{'ID':<5} {'NAME':<24} {'SCOPE':<9} {'CREATED':<20} {'EXPIRES':<20} REVOKED")
    for token in tokens:
        times = f"{moment(token.created_at):<20} {moment(token.expires_at):<20} {moment(token.revoked_at)}"
        output.result(f"{token.id:<5} {token.name:<24} {token.scope:<9} {times}")


def revoke(settings: ManagerSettings, number: int) -> None:
    """Revoke a token, which serve rejects within a second; SkipjackError if no valid token has this number."""
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        if not token_store.revoke(store, number, _by("token revoke")):
            raise SkipjackError(f"there is no valid token {number}.", _SEE_LIST)
    output.note(f"Revoked token {number}.")


def _by(action: str) -> AuditEntry:
    return AuditEntry(time.time(), audit.person(), action, "", "command line", {})
