"""The cache beside one request: what a hit records and teaches, and what happens when the cache is away."""

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from conduit.core.cache_entry import CachedAnswer
from conduit.core.errors import CacheUnavailable
from conduit.core.events import CacheAsked, Degraded, Event, Settled
from conduit.core.protocols import Frame
from conduit.gateway.learning.settle import Settler
from conduit.gateway.request.breaker import Breaker
from conduit.gateway.request.cache import NO_LOOK, REST_S, AnswerCache, Look, Recording
from conduit.gateway.request.complete import DONE, Beside, Gateway
from conduit.gateway.request.exchange import Ask
from conduit.routing.catalogue import Model, Price
from conduit.routing.decision import Status
from conduit.routing.query import Query
from conduit.routing.router import Router
from conduit.stores.memory.cache import MemoryCache
from conduit.stores.memory.ledger import MemoryLedger
from conduit.testing import CountingIds, ScriptedProvider, StillClock, completion

ASK = Ask(Query("hello", input_tokens=5), {"messages": [], "temperature": 0})


def frame(text: str) -> Frame:
    data = {"id": "chatcmpl-s", "choices": [{"delta": {"content": text}}]}
    return Frame(b"data: " + orjson.dumps(data) + b"\n\n", data)


class Away(MemoryCache):
    asked = 0

    async def get(self, name: str) -> bytes | None:
        self.asked += 1
        raise CacheUnavailable("TimeoutError")

    async def put(self, name: str, value: bytes, *, ttl_s: float) -> None:
        raise CacheUnavailable("TimeoutError")


class Desk:
    """A gateway with a cache, whose parts can be looked at."""

    def __init__(self, *script: object, away: bool = False, most: int = 10_000) -> None:
        self.provider, self.ledger = ScriptedProvider(script), MemoryLedger()  # type: ignore[arg-type]
        self.events, self.clock = list[Event](), StillClock(100.0)
        self.store = (Away if away else MemoryCache)(self.clock, most_bytes=10**6)
        ids, listener = CountingIds(), self.events.append
        self.cache = AnswerCache(
            self.store, clock=self.clock, listener=listener, random=bytes, ttl_s=60.0, most=most, most_temperature=0.0
        )
        self.router = Router(
            [Model("m", "p", price=Price(1.0, 2.0)), Model("l", "p", price=Price(1.0, 2.0))],
            policy="fixed:m",
            seed=1,
            clock=self.clock,
            ids=ids,
        )
        self.gateway = Gateway(
            router=self.router,
            ledger=self.ledger,
            providers={"p": self.provider},
            breaker=Breaker(self.clock),
            clock=self.clock,
            listener=listener,
            beside=Beside(cache=self.cache),
        )
        self.settler = Settler(ledger=self.ledger, clock=self.clock, ids=ids, listener=listener)

    async def asked(self, ask: Ask = ASK) -> str:
        """What it found in the cache, once what it answered has gone there."""
        done = await self.gateway.complete(ask)
        await self.cache.stop()
        return done.look.found

    async def streamed(self) -> tuple[str, bytes]:
        begun = await self.gateway.stream(ASK)
        said = b"".join([piece async for piece in begun.frames])
        await self.cache.stop()
        return begun.look.found, said

    async def observed(self) -> int:
        return len(await self.ledger.observations(after=0, limit=99))


async def test_a_hit_is_a_decision_of_its_own_that_costs_and_teaches_nothing() -> None:
    desk = Desk(completion("hi"))
    first, taught = await desk.gateway.complete(ASK), await desk.observed()
    await desk.cache.stop()
    again = await desk.gateway.complete(ASK)
    assert (again.look.found, again.answer.body) == ("hit", first.answer.body)
    record = await desk.ledger.find(again.decision.id)
    assert record is not None
    assert record.outcome == again.outcome
    assert (again.outcome.status, again.outcome.cost_usd, again.outcome.attempts) == (Status.CACHED, 0.0, ())
    assert (again.outcome.output_tokens, again.outcome.response_id) == (None, "chatcmpl-1")
    assert not again.decision.routed
    assert first.decision.id in again.decision.why
    assert (await desk.observed(), len(desk.provider.calls)) == (taught, 1)
    assert [e.hit for e in desk.events if isinstance(e, CacheAsked)] == [False, True]
    assert [e.outcome.status for e in desk.events if isinstance(e, Settled)] == [Status.ANSWERED, Status.CACHED]


async def test_feedback_on_a_hit_teaches_of_the_model_that_answered() -> None:
    desk = Desk()
    await desk.asked()
    again = await desk.gateway.complete(ASK)
    given = await desk.settler.settle(again.decision.id, {"quality_score": 0.25})
    assert (given.model, given.weight) == ("m", 1.0)
    *_, (_, lesson) = await desk.ledger.observations(after=0, limit=99)
    assert (lesson.model, lesson.quality, lesson.decision_id) == ("m", 0.25, again.decision.id)


async def test_a_stream_is_replayed_byte_by_byte_and_is_no_answer_to_who_wants_none() -> None:
    desk = Desk([frame("he"), frame("llo")])
    first = await desk.streamed()
    assert await desk.streamed() == ("hit", first[1])
    assert first == ("miss", frame("he").raw + frame("llo").raw + DONE)
    desk.provider._script = [completion()]
    assert await desk.asked() == "miss"
    assert [r.outcome.status for r in await desk.ledger.recent(limit=9) if r.outcome][1] is Status.CACHED


async def test_a_stream_that_was_left_is_not_kept() -> None:
    desk = Desk([frame("he"), frame("llo")])
    begun = await desk.gateway.stream(ASK)
    assert isinstance(begun.frames, AsyncIterator)
    await anext(begun.frames)
    await begun.frames.aclose()  # type: ignore[attr-defined]
    assert (await desk.streamed())[0] == "miss"


async def test_who_says_so_has_a_new_answer_that_takes_the_place_of_the_old() -> None:
    desk = Desk(completion("old"), completion("off"), completion("new"))
    assert await desk.asked() == "miss"
    assert await desk.asked(replace(ASK, cache="off")) == ""
    assert await desk.asked(replace(ASK, cache="renew")) == ""
    assert orjson.loads((await desk.gateway.complete(ASK)).answer.body) == completion("new")
    assert len(desk.provider.calls) == 3


async def test_what_is_too_large_or_of_a_model_that_left_is_asked_for_again() -> None:
    desk = Desk(completion("x" * 500), most=400)
    assert [await desk.asked(), await desk.asked()] == ["miss", "miss"]
    desk = Desk()
    assert [await desk.asked(), await desk.asked()] == ["miss", "hit"]
    desk.router.replace_models([Model("l", "p", price=Price(1.0, 2.0))])
    desk.router.beliefs = Router(desk.router.catalogue, policy="uniform").beliefs
    assert await desk.asked() == "miss"
    assert [e.hit for e in desk.events if isinstance(e, CacheAsked)] == [False, True, False]


async def test_while_the_cache_is_away_models_are_asked_and_it_is_left_alone_for_a_second() -> None:
    desk = Desk(away=True)
    store = desk.store
    assert isinstance(store, Away)
    for _ in range(3):
        done = await desk.gateway.complete(ASK)
        assert done.look == Look("miss", degraded=True)
    assert store.asked == 1
    assert [e.what for e in desk.events if isinstance(e, Degraded)] == ["cache"]
    desk.clock.at_s += REST_S
    await desk.asked()
    assert store.asked == 2


async def test_an_answer_that_cannot_be_put_there_is_told_of() -> None:
    desk = Desk(away=True)
    slot = (await Desk().cache.look(ASK, stream=False)).slot
    desk.cache.keep(Look("miss", slot), CachedAnswer("m", "d", None, b""))
    await desk.cache.stop()
    assert [e.what for e in desk.events if isinstance(e, Degraded)] == ["cache"]


async def test_what_is_damaged_there_is_a_miss() -> None:
    desk = Desk()
    await desk.asked()
    (name,) = desk.store._kept
    await desk.store.put(name, b"x" * 200, ttl_s=60.0)
    assert await desk.asked() == "miss"
    assert await desk.asked() == "hit"


def test_a_recording_that_is_too_long_is_none() -> None:
    recording = Recording(3)
    recording.add(b"ab")
    assert recording.body == b"ab"
    recording.add(b"cd")
    recording.add(b"")
    assert recording.body is None


@pytest.mark.parametrize("more", [{"temperature": 1}, {"tools": [{}]}])
async def test_what_may_not_be_cached_is_not_looked_for(more: dict[str, object]) -> None:
    desk = Desk()
    ask = replace(ASK, body={**ASK.body, **more})
    assert await desk.cache.look(ask, stream=False) == NO_LOOK
    assert [await desk.asked(ask), await desk.asked(ask)] == ["", ""]
