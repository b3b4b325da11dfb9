"""`skipjack-manager audit`: who did what, when, to what and from where."""

import json
import os
import pwd
from datetime import UTC, datetime
from typing import Any

from schemas.addresses import without_secrets
from schemas.problems import printable
from schemas.records import ManagerSettings
from sitegen import output
from sitegen.messages.model import AuditEntry
from sitegen.storage import audit_store
from sitegen.storage.store import Store


def show(settings: ManagerSettings, since: float, *, as_json: bool) -> None:
    """Print every control action and every change of a token from `since` (Unix seconds) on, a line for each."""
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        entries = audit_store.read(store, since)
    for entry in entries:
        output.result(json.dumps(entry._asdict()) if as_json else _line(entry))


def _line(entry: AuditEntry) -> str:
    details = " ".join(f"{key}={_told(key, value)}" for key, value in entry.details.items())
    return f"{moment(entry.at)} {entry.who} from {entry.origin}: {entry.action} {entry.subject} {details}".rstrip()


def _told(key: str, value: Any) -> str:
    return f'"{moment(value)}"' if key.endswith("_at") and isinstance(value, float) else json.dumps(value)


_NAME = 64
"""Characters of a name that are kept; the environment may hold anything."""


def person() -> str:
    """The person at the command line: the one behind sudo, or the user."""
    behind = os.environ.get("SUDO_USER")
    if behind:
        return without_secrets(printable(behind))[:_NAME]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def moment(at: float | None) -> str:
    """A time for people, `-` for none."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
