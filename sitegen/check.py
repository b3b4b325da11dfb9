"""`skipjack-manager check`: is the database intact and consistent? It changes nothing."""

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import output
from sitegen.storage import check_store, lost_database
from sitegen.storage.database import Database
from sitegen.storage.dialects import database_file, open_reading


def check(settings: ManagerSettings) -> None:
    """Print one line per problem; SkipjackError when there are any."""
    if settings.database is None:
        # As in all commands, so that each of them gives the same remedy for a lost database.
        lost_database.require_file(database_file(settings.state_dir), settings.site_dir)
    count = 0
    with open_reading(settings.state_dir, settings.database) as dialect, Database(dialect) as database:
        for problem in check_store.problems(database):
            output.result(problem)
            count += 1
    if count:
        raise SkipjackError(
            f"the database {dialect.place} has {count} problem{'s' if count > 1 else ''}.",
            "Keep a copy of it, then restore a backup: workers send again what the backup lacks.",
        )
    output.note(f"The database {dialect.place} has no problems.")
