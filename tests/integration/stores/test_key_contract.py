"""What every store of keys promises, whatever it is made of."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from conduit.core.errors import LedgerUnavailable
from conduit.core.keys import Key, KeyEntry, Limits, Secret, digest_of
from conduit.core.storage import KeyStore
from conduit.routing.errors import InvalidRequest, NotFound
from conduit.stores.sql.keys import MemoryKeyStore, SqlKeyStore
from conduit.stores.sql.ledger import SqlLedger

FULL = KeyEntry(
    Key("key_1", "ci", frozenset({"complete", "read"}), 2e9, Limits(60, 10_000, 4)),
    created_s=1000.25,
    revoked_s=None,
    secrets=(Secret(digest_of(b"one"), 1.9e9),),
)
PLAIN = KeyEntry(Key("key_2", "web", frozenset({"admin"})), 1001.0, None, (Secret(digest_of(b"two")),))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyStore]:
    if request.param == "memory":
        yield MemoryKeyStore()
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'conduit.db'}" if sqlite else request.getfixturevalue("postgres_url")
    ledger = SqlLedger(url)
    await ledger.open()
    yield SqlKeyStore(ledger.database)
    await ledger.close()


async def test_an_empty_store_has_nobody(store: KeyStore) -> None:
    assert not await store.any()
    assert not await store.list()
    assert await store.find(digest_of(b"one")) is None
    assert await store.named("ci") is None


async def test_what_was_kept_is_found_as_it_was(store: KeyStore) -> None:
    for entry in (PLAIN, FULL):
        await store.create(entry)
    assert await store.any()
    assert await store.list() == [FULL, PLAIN]
    for name in ("ci", "key_1"):
        assert await store.named(name) == FULL
    assert await store.find(digest_of(b"one")) == FULL
    assert await store.find(digest_of(b"two")) == PLAIN
    assert await store.find(digest_of(b"three")) is None


async def test_a_name_is_taken_until_its_key_is_revoked(store: KeyStore) -> None:
    await store.create(FULL)
    again = replace(PLAIN, key=replace(PLAIN.key, name="ci"))
    with pytest.raises(InvalidRequest, match="'ci'") as caught:
        await store.create(again)
    assert (caught.value.param, caught.value.status) == ("name", 409)
    revoked = await store.revoke("ci", now_s=1002.0)
    await store.create(again)
    assert await store.named("ci") == again
    assert await store.named("key_1") == revoked


async def test_of_many_who_want_a_name_at_once_one_gets_it(store: KeyStore) -> None:
    wanting = [
        replace(FULL, key=replace(FULL.key, id=f"key_{n}"), secrets=(Secret(digest_of(bytes([n]))),)) for n in range(8)
    ]
    told = await asyncio.gather(*map(store.create, wanting), return_exceptions=True)
    assert told.count(None) == 1
    assert all(isinstance(each, InvalidRequest) for each in told if each is not None)
    assert len(await store.list()) == 1


async def test_after_a_rotation_both_secrets_are_there_the_old_one_for_a_while(store: KeyStore) -> None:
    await store.create(PLAIN)
    fresh = Secret(digest_of(b"fresh"))
    entry = await store.rotate("web", fresh, until_s=5000.0)
    assert entry.key == PLAIN.key
    assert set(entry.secrets) == {fresh, Secret(digest_of(b"two"), 5000.0)}
    for secret in (b"two", b"fresh"):
        assert await store.find(digest_of(secret)) == entry
    assert entry.admits(digest_of(b"two"), 4999.0)
    assert not entry.admits(digest_of(b"two"), 5000.0)
    assert entry.admits(digest_of(b"fresh"), 5000.0)


async def test_a_rotation_gives_no_old_secret_more_time(store: KeyStore) -> None:
    await store.create(PLAIN)
    await store.rotate("web", Secret(digest_of(b"second")), until_s=10.0)
    entry = await store.rotate("web", Secret(digest_of(b"third")), until_s=20.0)
    assert {secret.expires_s for secret in entry.secrets} == {10.0, 20.0, None}


async def test_of_many_rotations_at_once_one_secret_has_no_end(store: KeyStore) -> None:
    await store.create(PLAIN)
    fresh = [Secret(digest_of(bytes([number]))) for number in range(20)]
    await asyncio.gather(*(store.rotate("web", secret, until_s=5000.0) for secret in fresh))
    entry = await store.named("web")
    assert entry is not None
    assert len(entry.secrets) == 21
    assert [secret.expires_s for secret in entry.secrets].count(None) == 1
    assert {secret.expires_s for secret in entry.secrets} == {None, 5000.0}


async def test_revoked_is_for_ever(store: KeyStore) -> None:
    await store.create(PLAIN)
    revoked = await store.revoke("web", now_s=1500.0)
    assert revoked == replace(PLAIN, revoked_s=1500.0)
    assert await store.revoke("key_2", now_s=1600.0) == revoked
    assert await store.find(digest_of(b"two")) == revoked
    assert await store.any()
    with pytest.raises(NotFound):
        await store.rotate("web", Secret(digest_of(b"fresh")), until_s=2000.0)
    assert await store.find(digest_of(b"fresh")) is None


@pytest.mark.parametrize("name", ["absent", "", "a\0b", "\ud800", "x" * 10_000, "'; DROP TABLE keys --"])
async def test_whoever_is_not_there_is_not_found(store: KeyStore, name: str) -> None:
    assert await store.named(name) is None
    with pytest.raises(NotFound):
        await store.revoke(name, now_s=1.0)
    with pytest.raises(NotFound):
        await store.rotate(name, Secret(digest_of(b"x")), until_s=1.0)


async def test_a_key_survives_a_restart(url: str) -> None:
    ledger = SqlLedger(url)
    await ledger.open()
    await SqlKeyStore(ledger.database).create(FULL)
    await ledger.close()
    await ledger.open()
    assert await SqlKeyStore(ledger.database).list() == [FULL]
    await ledger.close()


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    """And not a key that is not good."""
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'conduit.db'}")
    await ledger.open()
    await ledger.close()
    (tmp_path / "conduit.db").unlink()
    (tmp_path / "conduit.db").mkdir()
    with pytest.raises(LedgerUnavailable):
        await SqlKeyStore(ledger.database).find(digest_of(b"one"))
