"""`skipjack-manager forget`: remove a retired worker from pages and metrics."""

import time

from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import audit, output
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.storage import tunasync_store
from sitegen.storage.store import Store


def forget(settings: ManagerSettings, worker: str) -> None:
    """Delete a worker's state but not its run history; SkipjackError for a worker that never reported."""
    by = AuditEntry(time.time(), audit.person(), "", "", "command line", {})
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        try:
            store.write(tunasync_store.forget, worker, by)
        except RejectedRequest as error:
            raise SkipjackError(
                f"unknown worker `{worker}`: it never reported.", "The workers page lists all."
            ) from error
    # serve wakes the publisher for its own changes only.
    wakeup.send(settings.run_dir, wakeup.PUBLISHER)
    output.note(f"Removed worker {worker}. It comes back if it still reports: revoke its token (`token list`).")
