"""Stores the wake number, which each webhook raises: a program that had another one fetches the config repository now.

It is in the database, so that the publisher and other managers of the same database see it, and a restart wakes nobody.
"""

from sqlalchemy import Connection, insert, select, update

from sitegen.storage.database import counted
from sitegen.storage.store import Store
from sitegen.storage.tables import meta

_NAME = "wake"
_FIRST = 1
"""The number before the first webhook. A worker without any number sends 0, so no manager has that."""


def read(store: Store) -> int:
    """Return the wake number."""
    with store.transaction() as tx:
        return _read(tx)


def raise_number(store: Store) -> int:
    """Raise the wake number, and return it."""
    with store.transaction(writing=True) as tx:
        before = _read(tx)
        if before == _FIRST:
            tx.execute(insert(meta).values(name=_NAME, value=before + 1))
        else:
            tx.execute(update(meta).where(meta.c.name == _NAME).values(value=before + 1))
    return before + 1


def _read(tx: Connection) -> int:
    value = tx.execute(select(meta.c.value).where(meta.c.name == _NAME)).scalar()
    return _FIRST if value is None else counted(value, _NAME)
