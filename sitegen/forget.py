"""`skipjack-manager forget`: taking a worker that is gone for good off the pages."""

import time

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import audit, output
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.storage import tunasync_store
from sitegen.storage.store import Store
from sitegen.wakeup import poke


def forget(settings: ManagerSettings, worker: str) -> None:
    """Forget all that a worker told but its history; SkipjackError when it was never heard of."""
    by = AuditEntry(time.time(), audit.person(), "", "", "command line", {})
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        try:
            store.write(tunasync_store.forget, worker, by)
        except RejectedRequest as error:
            raise SkipjackError(f"No worker `{worker}` was ever heard of.", "The workers' page has all.") from error
    poke(settings.run_dir)
    output.note(f"Worker {worker} is forgotten. One that still reports comes back: revoke its token (`token list`).")
