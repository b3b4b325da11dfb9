"""Stores tokens: digests, never secrets. Every change adds a line to the audit log in the same transaction.

Times are Unix seconds.
"""

import hashlib
from collections.abc import Set

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from sitegen.messages.model import AuditEntry, Token
from sitegen.storage import audit_store, dialects
from sitegen.storage.store import Store
from sitegen.storage.tables import tokens

WORKER, OPERATOR = "worker", "operator"
"""The scopes that may do more than read: report, or give commands."""

_COLUMNS = (tokens.c.id, tokens.c.worker, tokens.c.scope, tokens.c.created_at, tokens.c.expires_at, tokens.c.revoked_at)


def digest_of(secret: str) -> str:
    """Return the digest of a token. A plain hash is enough, because a token has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(store: Store, name: str, scope: str, digest: str, by: AuditEntry) -> int:
    """Add a token; return its number. `by` says who created it and when."""
    with store.transaction(writing=True) as tx:
        number = _insert(tx, name, scope, digest, by.at)
        audit_store.write(tx, by._replace(subject=name, details={"token": number, "scope": scope}))
    return number


def rotate(store: Store, number: int, digest: str, keep: float, by: AuditEntry) -> Token | None:
    """Add a token like the one with this number, which then expires in `keep` seconds; None if that is not valid."""
    with store.transaction(writing=True) as tx:
        old = _find(tx, tokens.c.id == number, by.at)
        if old is None:
            return None
        # Rotating a token must not extend the life of the old one.
        ends = by.at + keep if old.expires_at is None else min(by.at + keep, old.expires_at)
        tx.execute(update(tokens).where(tokens.c.id == number).values(expires_at=ends))
        new = _insert(tx, old.name, old.scope, digest, by.at)
        details = {"token": new, "scope": old.scope, "instead_of": number, "old_expires_at": ends}
        audit_store.write(tx, by._replace(subject=old.name, details=details))
    return old._replace(id=new, created_at=by.at, expires_at=None)


def revoke(store: Store, number: int, by: AuditEntry) -> bool:
    """Revoke a token; return False if there is no valid one with this number."""
    with store.transaction(writing=True) as tx:
        old = _find(tx, tokens.c.id == number, by.at)
        if old is None:
            return False
        tx.execute(update(tokens).where(tokens.c.id == number).values(revoked_at=by.at))
        audit_store.write(tx, by._replace(subject=old.name, details={"token": number, "scope": old.scope}))
    return True


def every(store: Store) -> list[Token]:
    """Return all tokens, also expired and revoked ones, oldest first."""
    with store.transaction() as tx:
        return [Token(*row) for row in tx.execute(select(*_COLUMNS).order_by(tokens.c.id))]


def find(store: Store, digests: Set[str], now: float) -> dict[str, Token]:
    """Return the valid tokens with these digests, by digest."""
    with store.transaction() as tx:
        which = tokens.c.digest.in_(dialects.names(tx.dialect.name))
        rows = tx.execute(select(tokens.c.digest, *_COLUMNS).where(which, _valid(now)), dialects.named(digests))
        return {row[0]: Token(*row[1:]) for row in rows}


def _find(tx: Connection, which: ColumnElement[bool], now: float) -> Token | None:
    row = tx.execute(select(*_COLUMNS).where(which, _valid(now))).one_or_none()
    return None if row is None else Token(*row)


def _valid(now: float) -> ColumnElement[bool]:
    return tokens.c.revoked_at.is_(None) & or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)


def _insert(tx: Connection, name: str, scope: str, digest: str, now: float) -> int:
    new = insert(tokens).values(worker=name, scope=scope, digest=digest, created_at=now)
    return int(tx.execute(new.returning(tokens.c.id)).scalar_one())
