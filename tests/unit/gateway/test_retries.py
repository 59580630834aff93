"""A request that repeats the last one of its session counts lightly against the answer to that one."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from conduit.core.events import Decided, Degraded
from conduit.gateway.learning.retries import WAITING, RetryDetector, alike, is_retry
from conduit.routing.decision import Decision, Outcome, Record, Status
from conduit.routing.query import Query
from tests.unit.gateway.settling import Court
from tests.unit.gateway.test_settle import until

PROMPT = "Write a function in Python that reverses a linked list, and explain how it works."
AGAIN = "Please write a function in Python that reverses a linked list and explain how it works!"
OTHER = "What is the capital of Peru?"


class Talk:
    """One session, looked at by a detector."""

    def __init__(self) -> None:
        self.court = Court()
        self.detector = RetryDetector(
            ledger=self.court.ledger, settler=self.court.settler, listener=self.court.events.append
        )

    async def ask(self, text: str, *, session_id: str | None = "talk", status: Status = Status.ANSWERED) -> Decision:
        self.court.clock.at_s += 20.0
        decision = self.court.router.assign(Query(text, session_id=session_id), "first")
        await self.court.ledger.append(decision)
        self.detector(Decided(decision))
        await self.court.ledger.append(Outcome(decision.id, self.court.clock.at_s, "first", status, ()))
        return decision

    async def marked(self, decision: Decision) -> bool:
        record = await self.court.ledger.find(decision.id)
        assert record is not None
        return record.feedback is not None and record.feedback.signals.get("retried") is True


@pytest.mark.parametrize(
    ("first", "then", "found"), [(PROMPT, PROMPT, True), (PROMPT, AGAIN, True), (PROMPT, OTHER, False)]
)
async def test_the_same_again_in_other_words_is_a_retry(first: str, then: str, found: bool) -> None:
    talk = Talk()
    one = await talk.ask(first)
    await talk.detector.look(await talk.ask(then))
    assert await talk.marked(one) is found
    assert [(o.quality, o.weight) for o in await talk.court.observations()] == ([(0.0, 0.15)] if found else [])


@pytest.mark.parametrize(("session_id", "other"), [("talk", "another"), (None, None)])
async def test_only_within_a_session(session_id: str | None, other: str | None) -> None:
    talk = Talk()
    one = await talk.ask(PROMPT, session_id=session_id)
    await talk.detector.look(await talk.ask(PROMPT, session_id=other))
    assert not await talk.marked(one)


async def test_only_of_an_answer_that_there_was() -> None:
    """Who got an error asks again because of that."""
    talk = Talk()
    one = await talk.ask(PROMPT, status=Status.FAILED)
    await talk.detector.look(await talk.ask(PROMPT))
    assert not await talk.marked(one)


async def test_only_within_some_minutes_and_by_the_same_features() -> None:
    talk = Talk()
    one, then = await talk.ask(PROMPT), await talk.ask(PROMPT)
    record = await talk.court.ledger.find(one.id)
    assert record is not None
    assert is_retry(then, record)
    assert not is_retry(replace(then, time_s=one.time_s + 301.0), record)
    assert not is_retry(replace(then, features="another-1"), record)
    assert not is_retry(then, Record(one, None, None))


async def test_what_the_user_says_stands_beside_it() -> None:
    talk = Talk()
    one = await talk.ask(PROMPT)
    await talk.court.settler.settle(one.id, {"quality_score": 0.9})
    await talk.detector.look(await talk.ask(PROMPT))
    record = await talk.court.ledger.find(one.id)
    assert record is not None
    assert record.feedback is not None
    assert record.feedback.signals == {"quality_score": 0.9, "retried": True}
    assert record.feedback.quality == pytest.approx(0.9 / 1.15)


async def test_it_looks_in_the_background_and_outlives_what_goes_wrong() -> None:
    talk = Talk()
    looking = asyncio.create_task(talk.detector.run())
    one = await talk.ask(PROMPT)
    await talk.court.ledger.close()
    talk.detector(Decided(replace(one, id="zzz")))  # its feedback cannot be written
    await until(lambda: any(isinstance(e, Degraded) for e in talk.court.events))
    await talk.court.ledger.open()
    two = await talk.ask(PROMPT)
    await talk.ask(PROMPT)
    async with asyncio.timeout(5):
        while not await talk.marked(two):  # noqa: ASYNC110  what is waited for is in the ledger
            await asyncio.sleep(0)
    looking.cancel()
    assert [e.what for e in talk.court.events if isinstance(e, Degraded)] == ["retries"]


async def test_a_flood_is_let_go_and_announced() -> None:
    talk = Talk()
    one = await talk.ask(OTHER)
    for _ in range(WAITING):
        talk.detector(Decided(one))
    assert [e.what for e in talk.court.events if isinstance(e, Degraded)] == ["retries"]


def test_contexts_of_nothing_are_not_alike() -> None:
    assert alike(np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0])) == 0.0
    assert alike(np.array([2.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0])) == pytest.approx(1.0)
