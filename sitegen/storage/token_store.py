"""Tokens in the store: digests, never secrets. Every change is a line of the audit in the same transaction."""

import hashlib
from collections.abc import Set

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from sitegen.messages.model import AuditEntry, Token
from sitegen.storage import audit_store, dialects
from sitegen.storage.store import Store
from sitegen.storage.tables import tokens

WORKER, OPERATOR, READ = "worker", "operator", "read"

_COLUMNS = (tokens.c.id, tokens.c.worker, tokens.c.scope, tokens.c.created_at, tokens.c.expires_at, tokens.c.revoked_at)


def digest_of(secret: str) -> str:
    """What is kept of a token. It has 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(store: Store, name: str, scope: str, digest: str, by: AuditEntry) -> int:
    """Keep a new token; returns its number. `by` says who made it and when."""
    with store.transaction(writing=True) as tx:
        number = _insert(tx, name, scope, digest, by.at)
        audit_store.write(tx, by._replace(subject=name, details={"token": number, "scope": scope}))
    return number


def rotate(store: Store, number: int, digest: str, keep: float, by: AuditEntry) -> Token | None:
    """Make a token like that of this number, which expires in `keep` seconds; None when there is no valid one."""
    with store.transaction(writing=True) as tx:
        old = _find(tx, tokens.c.id == number, by.at)
        if old is None:
            return None
        ends = by.at + keep if old.expires_at is None else min(by.at + keep, old.expires_at)
        tx.execute(update(tokens).where(tokens.c.id == number).values(expires_at=ends))
        new = _insert(tx, old.name, old.scope, digest, by.at)
        details = {"token": new, "scope": old.scope, "instead_of": number, "old_expires_at": ends}
        audit_store.write(tx, by._replace(subject=old.name, details=details))
    return old._replace(id=new, created_at=by.at, expires_at=None)


def revoke(store: Store, number: int, by: AuditEntry) -> bool:
    """Make a token worthless; False when there is no valid one of this number."""
    with store.transaction(writing=True) as tx:
        old = _find(tx, tokens.c.id == number, by.at)
        if old is None:
            return False
        tx.execute(update(tokens).where(tokens.c.id == number).values(revoked_at=by.at))
        audit_store.write(tx, by._replace(subject=old.name, details={"token": number, "scope": old.scope}))
    return True


def every(store: Store) -> list[Token]:
    """All tokens, the worthless ones too, oldest first."""
    with store.transaction() as tx:
        return [Token(*row) for row in tx.execute(select(*_COLUMNS).order_by(tokens.c.id))]


def find(store: Store, digest: str, now: float) -> Token | None:
    """The valid token with this digest."""
    return find_all(store, {digest}, now).get(digest)


def find_all(store: Store, digests: Set[str], now: float) -> dict[str, Token]:
    """The valid tokens with these digests, by digest."""
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
