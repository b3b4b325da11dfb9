"""`skipjack-manager audit`: who gave which command or changed which token, when and from where."""

import json
import os
from datetime import UTC, datetime
from typing import Any

from schemas.addresses import without_secrets
from schemas.problems import printable
from schemas.records import ManagerSettings
from schemas.user_names import name_of
from sitegen import output
from sitegen.messages.model import AuditEntry
from sitegen.storage import audit_store
from sitegen.storage.store import Store


def show(settings: ManagerSettings, since: float, *, as_json: bool) -> None:
    """Print every control action and token change since `since` (Unix seconds), one per line."""
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        entries = audit_store.read(store, since)
    for entry in entries:
        output.result(json.dumps(entry._asdict()) if as_json else _line(entry))


def _line(entry: AuditEntry) -> str:
    details = " ".join(f"{key}={_shown(key, value)}" for key, value in entry.details.items())
    return f"{moment(entry.at)} {entry.who} from {entry.origin}: {entry.action} {entry.subject} {details}".rstrip()


def _shown(key: str, value: Any) -> str:
    return f'"{moment(value)}"' if key.endswith("_at") and isinstance(value, float) else json.dumps(value)


_NAME = 64
"""Characters of a name that are kept: an environment variable may be of any length."""


def person() -> str:
    """Return the name of the user at the command line, under sudo the original one."""
    # Without it each command that an admin types would be one by `root`.
    original = os.environ.get("SUDO_USER")
    if original:
        # A user can set the variable to any text, and the audit is printed on terminals.
        return without_secrets(printable(original))[:_NAME]
    return name_of(os.getuid())


def moment(at: float | None) -> str:
    """Format Unix seconds for people, None as `-`."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
