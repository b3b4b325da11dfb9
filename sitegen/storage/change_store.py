"""Which mirrors have changed since a change number."""

from typing import NamedTuple

from sqlalchemy import func, select

from sitegen.storage.store import Store
from sitegen.storage.tables import catalogue, meta, mirror_state, workers


class Changes(NamedTuple):
    """The newest change number, whether anything may have changed, and the mirrors whose state has."""

    changes: int
    reset: bool
    mirrors: tuple[str, ...]


def since(store: Store, after: int) -> Changes:
    """Return the changes after a number. A number above the newest means that the database was replaced."""
    with store.transaction() as tx:
        newest = int(tx.execute(select(meta.c.value).where(meta.c.name == "changes")).scalar_one())
        if after >= newest:
            return Changes(newest, after > newest, ())
        configuration = tx.execute(select(func.max(catalogue.c.changed)).where(catalogue.c.changed > after)).scalar()
        replaced = tx.execute(select(func.count()).where(workers.c.replaced > after)).scalar_one()
        rows = tx.execute(select(mirror_state.c.mirror).where(mirror_state.c.changed > after).distinct())
        return Changes(newest, configuration is not None or replaced > 0, tuple(sorted(rows.scalars())))
