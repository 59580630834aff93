"""Feedback: found, counted once, replaced when revised."""

import asyncio
from collections.abc import Callable

import pytest

from conduit.core.errors import LedgerUnavailable, UpstreamError
from conduit.core.events import Degraded, Event, FeedbackGiven
from conduit.core.storage import Ledger
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.settle import Settler
from conduit.routing.decision import Outcome, Status
from conduit.routing.errors import InvalidRequest, NotFound
from conduit.routing.query import Query
from conduit.stores.memory.ledger import MemoryLedger
from conduit.testing import CountingIds, StillClock, completion
from tests.unit.gateway.settling import Court
from tests.unit.gateway.test_complete import ASK, Bench


async def answered(*script: object) -> tuple[Bench, Settler, str]:
    b = Bench(*script or [completion()])
    await b.ledger.open()
    done = await b.gateway.complete(ASK)
    settler = Settler(ledger=b.ledger, clock=StillClock(), ids=CountingIds(), listener=b.events.append)
    return b, settler, done.decision.id


async def qualities(ledger: Ledger) -> list[tuple[float, float]]:
    seen = await ledger.observations(after=0, limit=99)
    return [(o.quality, o.weight) for _, o in seen if o.quality is not None]


@pytest.mark.parametrize("by", ["decision", "response"])
async def test_feedback_finds_its_answer_by_either_name(by: str) -> None:
    b, settler, decision = await answered()
    settled = await settler.settle(decision if by == "decision" else "chatcmpl-1", {"quality_score": 0.8})
    assert (settled.decision_id, settled.revision) == (decision, 1)
    assert await qualities(b.ledger) == [(0.8, 1.0)]


async def test_the_same_again_changes_nothing() -> None:
    b, settler, decision = await answered()
    first = await settler.settle(decision, {"quality_score": 0.8})
    assert await settler.settle(decision, {"quality_score": 0.8}) == first
    assert await qualities(b.ledger) == [(0.8, 1.0)]
    assert [e.repeated for e in b.events if isinstance(e, FeedbackGiven)] == [False, True]


async def test_something_else_replaces_it() -> None:
    b, settler, decision = await answered()
    await settler.settle(decision, {"quality_score": 0.8})
    second = await settler.settle(decision, {"thumbs": "down"})
    assert second.revision == 2
    assert await qualities(b.ledger) == [(0.8, 1.0), (0.8, -1.0), (0.0, 0.7)]


async def test_what_another_source_says_stands_beside_it_and_both_are_one() -> None:
    """A rating after a verdict keeps the verdict, and a revision takes back exactly what was taught."""
    b, settler, decision = await answered()
    await settler.settle(decision, {"judge_score": 0.4}, source="judge")
    both = await settler.settle(decision, {"user_rating": 5})
    assert both.signals == {"judge_score": 0.4, "user_rating": 5}
    assert (both.quality, both.weight) == (pytest.approx(0.8), 1.0)
    again = await settler.settle(decision, {"judge_score": 0.4}, source="judge")
    assert again == both
    last = await settler.settle(decision, {"thumbs": "down"})
    assert last.signals == {"judge_score": 0.4, "thumbs": "down"}
    assert await qualities(b.ledger) == [
        (0.4, 0.5),
        (0.4, -0.5),
        (both.quality, 1.0),
        (both.quality, -1.0),
        (last.quality, 0.7),
    ]


async def test_nobody_speaks_for_another_source() -> None:
    _, settler, decision = await answered()
    with pytest.raises(InvalidRequest, match="judge_score"):
        await settler.settle(decision, {"judge_score": 1.0})
    with pytest.raises(InvalidRequest, match="thumbs"):
        await settler.settle(decision, {"thumbs": "up"}, source="judge")


async def test_many_at_once_leave_one_judgement() -> None:
    b, settler, decision = await answered()
    await asyncio.gather(*(settler.settle(decision, {"quality_score": n / 10}) for n in range(10)))
    seen = await qualities(b.ledger)
    assert sum(weight for _, weight in seen) == 1.0
    record = await b.ledger.find(decision)
    assert record is not None
    assert record.feedback is not None
    assert record.feedback.revision == 10
    assert sum(q * w for q, w in seen) == pytest.approx(record.feedback.quality)


async def test_it_teaches_the_model_that_answered() -> None:
    b, settler, decision = await answered(UpstreamError("http 503"), completion())
    await settler.settle(decision, {"quality_score": 0.7})
    rows = await b.ledger.observations(after=0, limit=99)
    assert [(o.model, o.quality) for _, o in rows if o.quality is not None] == [("first", 0.0), ("second", 0.7)]


async def test_a_revision_takes_back_from_whom_the_first_one_taught() -> None:
    """Feedback before the outcome credits the choice; when a fallback turns out to have answered, it moves there."""
    b = Bench()
    await b.ledger.open()
    decision = await b.gateway.decide(ASK)
    settler = Settler(ledger=b.ledger, clock=StillClock(), ids=CountingIds(), listener=b.events.append)
    await settler.settle(decision.id, {"quality_score": 0.2})
    await b.ledger.append(Outcome(decision.id, 0.0, "second", Status.ANSWERED, ()))
    await settler.settle(decision.id, {"quality_score": 0.9})
    rows = await b.ledger.observations(after=0, limit=99)
    assert [(o.model, o.quality, o.weight) for _, o in rows] == [
        ("first", 0.2, 1.0),
        ("first", 0.2, -1.0),
        ("second", 0.9, 1.0),
    ]


async def test_an_unknown_answer_is_not_found() -> None:
    _, settler, _ = await answered()
    with pytest.raises(NotFound):
        await settler.settle("dec_absent", {"quality_score": 0.8})


async def until(holds: Callable[[], bool]) -> None:
    """Lets others run until it holds; fails after five seconds."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  what is waited for is somebody else's state
            await asyncio.sleep(0)


async def test_beliefs_follow_what_was_said() -> None:
    b, settler, decision = await answered()
    await settler.settle(decision, {"quality_score": 0.8})
    events: list[Event] = []
    router = b.gateway._router
    follower = Follower(ledger=b.ledger, router=router, listener=events.append, interval_s=60.0)
    await follower.catch_up()
    assert router.beliefs.folded == follower.position == 2
    following = asyncio.create_task(follower.run())
    await settler.settle(decision, {"quality_score": 0.1})
    follower.wake()
    await until(lambda: router.beliefs.folded == 4)
    following.cancel()


async def test_a_refresh_that_fails_is_announced_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    b, settler, decision = await answered()
    await settler.settle(decision, {"quality_score": 0.8})
    events: list[Event] = []
    beliefs = b.gateway._router.beliefs
    whole, failing = beliefs.refresh, [ValueError("a bad row")]

    def refresh() -> None:
        if failing:
            raise failing.pop()
        whole()

    monkeypatch.setattr(beliefs, "refresh", refresh)
    follower = Follower(ledger=b.ledger, router=b.gateway._router, listener=events.append, interval_s=0.001)
    following = asyncio.create_task(follower.run())
    await until(lambda: bool(events) and not beliefs.behind)
    following.cancel()
    assert [e.why for e in events if isinstance(e, Degraded)] == ["ValueError"]


async def test_a_ledger_that_is_away_is_announced_and_awaited() -> None:
    class Away(MemoryLedger):
        async def observations(self, *, after: int, limit: int):  # type: ignore[no-untyped-def]
            raise LedgerUnavailable("away")

    events: list[Event] = []
    b = Bench()
    follower = Follower(ledger=Away(), router=b.gateway._router, listener=events.append, interval_s=0.001)
    following = asyncio.create_task(follower.run())
    await until(lambda: len(events) >= 2)
    following.cancel()
    assert {getattr(e, "what", "") for e in events} == {"follower"}


async def test_an_earlier_request_of_the_same_id_is_not_taken_for_one_that_is_on_its_way() -> None:
    class Behind(MemoryLedger):
        away = True

        async def behind(self) -> bool:
            return self.away

    ledger = Behind()
    court = Court(ledger=ledger)
    decision = court.router.assign(Query("hello", request_id="mine"), "first")
    await ledger.append(decision, Outcome(decision.id, 1.0, "first", Status.ANSWERED, ()))
    with pytest.raises(LedgerUnavailable):
        await court.settler.settle("mine", {"thumbs": "up"})
    assert (await court.settler.settle(decision.id, {"thumbs": "up"})).decision_id == decision.id
    ledger.away = False
    assert (await court.settler.settle("mine", {"thumbs": "up"})).decision_id == decision.id
