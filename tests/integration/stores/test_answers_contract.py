"""What every store of answers promises, whatever it is made of."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from conduit.core.idempotency import Claim, Standing, StoredAnswer
from conduit.core.storage import Answers
from conduit.stores.sql.answers import MemoryAnswers, SqlAnswers
from conduit.stores.sql.ledger import SqlLedger

ANSWER = StoredAnswer(200, (("content-type", "application/json"), ("x-conduit-model", "cheap")), b'{"a": "\xc3\xa9"}')
CLAIM = Claim("once_1", "key_1", "order-4711", b"d" * 32, 130.0)
RUNS = Standing(CLAIM.digest, None)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Answers, Answers]]:
    """The store as two processes see it."""
    if request.param == "memory":
        memory = MemoryAnswers()
        yield memory, memory
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'conduit.db'}" if sqlite else request.getfixturevalue("postgres_url")
    ledgers = SqlLedger(url), SqlLedger(url)
    for ledger in ledgers:
        await ledger.open()
    yield SqlAnswers(ledgers[0].database), SqlAnswers(ledgers[1].database)
    for ledger in ledgers:
        await ledger.close()


@pytest.fixture
def answers(pair: tuple[Answers, Answers]) -> Answers:
    return pair[0]


def another(number: int, **changes: object) -> Claim:
    return replace(CLAIM, id=f"once_{number}", **changes)


async def test_a_name_is_taken_once_and_then_stands_for_what_took_it(answers: Answers) -> None:
    assert await answers.claim(CLAIM, now_s=100.0) is None
    assert await answers.claim(another(2, digest=b"e" * 32), now_s=101.0) == RUNS


async def test_what_was_answered_is_there_byte_by_byte_for_every_process(pair: tuple[Answers, Answers]) -> None:
    assert await pair[0].claim(CLAIM, now_s=100.0) is None
    assert await pair[0].keep(CLAIM, ANSWER, until_s=500.0)
    assert await pair[1].claim(another(2), now_s=499.0) == Standing(CLAIM.digest, ANSWER)


async def test_that_there_was_an_answer_is_kept_without_it(answers: Answers) -> None:
    await answers.claim(CLAIM, now_s=100.0)
    assert await answers.keep(CLAIM, replace(ANSWER, body=None), until_s=500.0)
    assert await answers.claim(another(2), now_s=101.0) == Standing(CLAIM.digest, replace(ANSWER, body=None))


async def test_an_owner_never_meets_the_names_of_another(answers: Answers) -> None:
    assert await answers.claim(CLAIM, now_s=100.0) is None
    assert await answers.claim(another(2, owner="key_2"), now_s=100.0) is None
    assert await answers.claim(another(3, owner=""), now_s=100.0) is None
    assert await answers.keep(CLAIM, ANSWER, until_s=500.0)
    for number, owner in enumerate(("key_2", ""), start=4):
        assert await answers.claim(another(number, owner=owner), now_s=101.0) == RUNS
    await answers.release(another(2, owner="key_2"))
    assert await answers.claim(another(6), now_s=102.0) == Standing(CLAIM.digest, ANSWER)


async def test_of_many_at_once_one_has_the_name(pair: tuple[Answers, Answers]) -> None:
    found = await asyncio.gather(*(pair[n % 2].claim(another(n), now_s=100.0) for n in range(40)))
    assert found.count(None) == 1
    assert found.count(RUNS) == 39


async def test_what_is_released_is_free_and_what_was_kept_is_not_released(answers: Answers) -> None:
    await answers.claim(CLAIM, now_s=100.0)
    await answers.release(CLAIM)
    second = another(2)
    assert await answers.claim(second, now_s=101.0) is None
    assert await answers.keep(second, ANSWER, until_s=500.0)
    await answers.release(second)
    assert await answers.claim(another(3), now_s=102.0) == Standing(CLAIM.digest, ANSWER)


@pytest.mark.parametrize("kept", [False, True])
async def test_what_has_expired_is_free_and_leaves_nothing(answers: Answers, kept: bool) -> None:
    await answers.claim(CLAIM, now_s=100.0)
    if kept:
        await answers.keep(CLAIM, ANSWER, until_s=130.0)
    second = another(2, expires_s=160.0, digest=b"e" * 32)
    assert await answers.claim(second, now_s=130.0) is None
    assert await answers.claim(another(3), now_s=131.0) == Standing(second.digest, None)


async def test_who_lost_the_name_neither_keeps_nor_releases_it(answers: Answers) -> None:
    await answers.claim(CLAIM, now_s=100.0)
    await answers.claim(another(2, expires_s=160.0), now_s=130.0)
    assert not await answers.keep(CLAIM, ANSWER, until_s=500.0)
    await answers.release(CLAIM)
    assert await answers.claim(another(3), now_s=131.0) == RUNS


async def test_what_runs_long_is_renewed_and_what_was_kept_is_not(answers: Answers) -> None:
    done = another(2, name="order-4712")
    for claim in (CLAIM, done):
        await answers.claim(claim, now_s=100.0)
    await answers.keep(done, ANSWER, until_s=150.0)
    await answers.renew([CLAIM.id, done.id, "once_unknown"], until_s=200.0)
    assert await answers.claim(another(3), now_s=199.0) == RUNS
    assert await answers.claim(another(4, name="order-4712"), now_s=199.0) is None


async def test_a_sweep_takes_what_has_expired_and_nothing_else(answers: Answers) -> None:
    await answers.claim(CLAIM, now_s=100.0)
    await answers.claim(another(2, name="long", expires_s=131.0), now_s=100.0)
    await answers.sweep(now_s=130.0)
    assert await answers.claim(another(3), now_s=1.0) is None
    assert await answers.claim(another(4, name="long"), now_s=1.0) == RUNS
