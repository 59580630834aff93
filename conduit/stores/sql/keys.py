"""Keys in SQLite or PostgreSQL, and in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, insert, or_, select, update

from conduit.core.errors import LedgerConflict
from conduit.core.keys import Key, KeyEntry, Limits, Secret
from conduit.routing.errors import InvalidRequest, NotFound
from conduit.stores.sql import rows
from conduit.stores.sql.database import Database
from conduit.stores.sql.tables import key_secrets, keys
from conduit.stores.sql.translation import in_our_words


class SqlKeyStore:
    """Beside a ledger that is open."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, entry: KeyEntry) -> None:
        try:
            with in_our_words():
                await self._database.write(partial(_create, entry=entry), power_safe=True)
        except LedgerConflict:
            raise _taken(entry.key.name) from None

    async def find(self, digest: bytes) -> KeyEntry | None:
        owner = select(key_secrets.c.key_id).where(key_secrets.c.digest == digest).scalar_subquery()
        return await self._one(select(keys).where(keys.c.id == owner))

    async def named(self, name: str) -> KeyEntry | None:
        return await self._one(_named(name))

    async def list(self) -> Sequence[KeyEntry]:
        with in_our_words():
            return await self._database.read(partial(_entries, statement=select(keys).order_by(keys.c.id)))

    async def any(self) -> bool:
        with in_our_words():
            return await self._database.read(_any)

    async def rotate(self, name: str, secret: Secret, *, until_s: float) -> KeyEntry:
        with in_our_words():
            work = partial(_rotate, name=name, secret=secret, until_s=until_s)
            return await self._database.write(work, power_safe=True)

    async def revoke(self, name: str, *, now_s: float) -> KeyEntry:
        with in_our_words():
            return await self._database.write(partial(_revoke, name=name, now_s=now_s), power_safe=True)

    async def _one(self, statement: Select[Any]) -> KeyEntry | None:
        with in_our_words():
            found = await self._database.read(partial(_entries, statement=statement))
        return found[0] if found else None


class MemoryKeyStore:
    """The same, for one process; gone with it."""

    def __init__(self) -> None:
        self._entries: dict[str, KeyEntry] = {}

    async def create(self, entry: KeyEntry) -> None:
        if any(e.key.name == entry.key.name and e.revoked_s is None for e in self._entries.values()):
            raise _taken(entry.key.name)
        self._entries[entry.key.id] = entry

    async def find(self, digest: bytes) -> KeyEntry | None:
        return next((e for e in self._entries.values() if any(s.digest == digest for s in e.secrets)), None)

    async def named(self, name: str) -> KeyEntry | None:
        found = [e for e in self._entries.values() if name in {e.key.id, e.key.name}]
        return min(found, key=lambda e: (e.revoked_s is not None, -e.created_s), default=None)

    async def list(self) -> Sequence[KeyEntry]:
        return [self._entries[id_] for id_ in sorted(self._entries)]

    async def any(self) -> bool:
        return bool(self._entries)

    async def rotate(self, name: str, secret: Secret, *, until_s: float) -> KeyEntry:
        entry = await self.named(name)
        if entry is None or entry.revoked_s is not None:
            raise NotFound("key", name, param="name")
        return self._keep(replace(entry, secrets=(*_until(entry.secrets, until_s), secret)))

    async def revoke(self, name: str, *, now_s: float) -> KeyEntry:
        entry = await self.named(name)
        if entry is None:
            raise NotFound("key", name, param="name")
        return self._keep(entry if entry.revoked_s is not None else replace(entry, revoked_s=now_s))

    def _keep(self, entry: KeyEntry) -> KeyEntry:
        self._entries[entry.key.id] = entry
        return entry


def _taken(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"name: there is a key called {name!r}; rotate or revoke it, or take another name", param="name", status=409
    )


def _until(secrets: Iterable[Secret], until_s: float) -> list[Secret]:
    return [replace(s, expires_s=until_s if s.expires_s is None else min(s.expires_s, until_s)) for s in secrets]


# ------------------------------------------------------------------ statements


def _create(connection: Connection, entry: KeyEntry) -> None:
    key, limits = entry.key, entry.key.limits
    connection.execute(
        insert(keys).values(
            id=key.id,
            name=rows.text(key.name),
            scopes=" ".join(sorted(key.scopes)),
            expires_s=key.expires_s,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            concurrent=limits.concurrent,
            created_s=entry.created_s,
            revoked_s=entry.revoked_s,
        )
    )
    for secret in entry.secrets:
        _add(connection, key.id, secret)


def _add(connection: Connection, key_id: str, secret: Secret) -> None:
    connection.execute(insert(key_secrets).values(digest=secret.digest, key_id=key_id, expires_s=secret.expires_s))


def _any(connection: Connection) -> bool:
    return connection.execute(select(keys.c.id).limit(1)).first() is not None


def _named(name: str) -> Select[Any]:
    said = rows.text(name)
    return (
        select(keys)
        .where(or_(keys.c.id == said, keys.c.name == said))
        .order_by(keys.c.revoked_s.is_not(None), keys.c.created_s.desc())
        .limit(1)
    )


def _required(connection: Connection, name: str) -> KeyEntry:
    found = _entries(connection, _named(name))
    if not found:
        raise NotFound("key", name, param="name")
    return found[0]


def _rotate(connection: Connection, name: str, secret: Secret, until_s: float) -> KeyEntry:
    # Who rotates it too waits here, and then sees the secret that we have made: one alone has no end.
    connection.execute(_named(name).with_only_columns(keys.c.id).with_for_update())
    entry = _required(connection, name)
    if entry.revoked_s is not None:
        raise NotFound("key", name, param="name")
    own = key_secrets.c.key_id == entry.key.id
    later = or_(key_secrets.c.expires_s.is_(None), key_secrets.c.expires_s > until_s)
    connection.execute(update(key_secrets).where(own, later).values(expires_s=until_s))
    _add(connection, entry.key.id, secret)
    return _required(connection, entry.key.id)


def _revoke(connection: Connection, name: str, now_s: float) -> KeyEntry:
    entry = _required(connection, name)
    connection.execute(
        update(keys).where(keys.c.id == entry.key.id, keys.c.revoked_s.is_(None)).values(revoked_s=now_s)
    )
    return _required(connection, entry.key.id)


def _entries(connection: Connection, statement: Select[Any]) -> list[KeyEntry]:
    found = connection.execute(statement).mappings().all()
    ids = [row["id"] for row in found]
    by_key: dict[str, list[Secret]] = {id_: [] for id_ in ids}
    for row in connection.execute(select(key_secrets).where(key_secrets.c.key_id.in_(ids))).mappings():
        by_key[row["key_id"]].append(Secret(bytes(row["digest"]), row["expires_s"]))
    return [_entry(row, by_key[row["id"]]) for row in found]


def _entry(row: Any, secrets: Iterable[Secret]) -> KeyEntry:
    limits = Limits(row["requests_per_minute"], row["tokens_per_minute"], row["concurrent"])
    key = Key(row["id"], row["name"], frozenset(row["scopes"].split()), row["expires_s"], limits)
    return KeyEntry(key, row["created_s"], row["revoked_s"], tuple(secrets))
