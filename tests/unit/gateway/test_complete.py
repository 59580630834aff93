"""One request through the gateway, over a scripted provider and a ledger in memory."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from conduit.core.errors import AllModelsFailed, LedgerUnavailable, UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.core.events import Began, Decided, Degraded, Ended, Event, Settled
from conduit.core.protocols import Frame
from conduit.core.storage import Ledger, Place
from conduit.gateway.request.breaker import Breaker
from conduit.gateway.request.complete import DONE, Gateway
from conduit.gateway.request.exchange import Ask
from conduit.routing.catalogue import Model, Price
from conduit.routing.decision import Status
from conduit.routing.errors import NotFound
from conduit.routing.query import Query
from conduit.routing.router import Router
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.ledger import SqlLedger
from conduit.testing import CountingIds, ScriptedProvider, StillClock, completion

MODELS = [Model("first", "p", price=Price(1.0, 2.0)), Model("second", "p", price=Price(1.0, 2.0))]
ASK = Ask(Query("hello", input_tokens=5), {"messages": []})


def chunk(text: str = "", **more: object) -> Frame:
    data = {"id": "chatcmpl-s", "choices": [{"delta": {"content": text}}], **more}
    return Frame(b"data: " + orjson.dumps(data) + b"\n\n", data)


class Bench:
    """A gateway whose parts can be looked at."""

    def __init__(self, *script: object, ledger: Ledger | None = None) -> None:
        self.provider = ScriptedProvider(script)  # type: ignore[arg-type]
        self.ledger: Ledger = ledger or MemoryLedger()
        self.events: list[Event] = []
        clock = StillClock(100.0)
        self.gateway = Gateway(
            router=Router(MODELS, policy="fixed:first", seed=1, clock=clock, ids=CountingIds()),
            ledger=self.ledger,
            providers={"p": self.provider},
            breaker=Breaker(clock),
            clock=clock,
            listener=self.events.append,
        )

    async def lessons(self) -> list[tuple[str, float | None, float | None]]:
        return [(o.model, o.quality, o.output_tokens) for _, o in await self.ledger.observations(after=0, limit=99)]


async def bench(*script: object) -> Bench:
    made = Bench(*script)
    await made.ledger.open()
    return made


async def read(frames: AsyncIterator[bytes]) -> bytes:
    return b"".join([frame async for frame in frames])


async def test_an_answer_is_passed_on_recorded_and_teaches() -> None:
    b = await bench(completion("hi", input_tokens=1000, output_tokens=500))
    done = await b.gateway.complete(ASK)
    record = await b.ledger.find(done.decision.id)
    assert record is not None
    assert record.outcome == done.outcome
    assert (done.outcome.cost_usd, done.outcome.output_tokens) == (pytest.approx(0.002), 500)
    assert done.kept is Place.LEDGER
    assert orjson.loads(done.answer.body) == completion("hi", input_tokens=1000, output_tokens=500)
    assert await b.lessons() == [("first", None, 500.0)]
    within = [Began, Began, Ended, Decided, Ended]
    assert [type(e) for e in b.events] == [*within, Settled]


async def test_the_next_best_answers_when_the_first_fails_and_the_failure_is_quality_0() -> None:
    b = await bench(UpstreamError("http 503"), completion())
    done = await b.gateway.complete(ASK)
    assert (done.decision.model, done.outcome.model) == ("first", "second")
    assert [a.error for a in done.outcome.attempts] == ["http 503", None]
    assert await b.lessons() == [("first", 0.0, None), ("second", None, 20.0)]


async def test_a_wrong_key_falls_back_and_teaches_nothing_of_the_model() -> None:
    b = await bench(UpstreamError("http 401", status=401, counts=False), completion())
    await b.gateway.complete(ASK)
    assert await b.lessons() == [("second", None, 20.0)]


async def test_a_named_model_is_asked_alone() -> None:
    b = await bench(UpstreamError("http 503"), completion())
    with pytest.raises(AllModelsFailed):
        await b.gateway.complete(Ask(ASK.query, ASK.body, model="first"))
    assert len(b.provider.calls) == 1
    with pytest.raises(NotFound):
        await b.gateway.complete(Ask(ASK.query, ASK.body, model="absent"))


@pytest.mark.parametrize(
    ("error", "cost_usd"),
    [
        (UpstreamError("http 503", status=503), 0.0),
        (UpstreamError("connection refused", server=True), 0.0),
        (UpstreamTimeout("no answer in time"), None),
        (UpstreamError("garbage"), None),
    ],
)
async def test_when_all_fail_the_outcome_says_so(error: UpstreamError, cost_usd: float | None) -> None:
    """What was not refused may have cost something, and nobody knows how much."""
    b = await bench(error)
    with pytest.raises(AllModelsFailed):
        await b.gateway.complete(ASK)
    (record,) = await b.ledger.recent(limit=9)
    assert record.outcome is not None
    assert (record.outcome.status, record.outcome.cost_usd) == (Status.FAILED, cost_usd)
    assert [q for _, q, _ in await b.lessons()] == [0.0, 0.0]


async def test_a_rejected_request_is_on_record_and_teaches_nothing() -> None:
    b = await bench(UpstreamRejected("http 400", status=400, body=b"{}"))
    with pytest.raises(UpstreamRejected):
        await b.gateway.complete(ASK)
    assert await b.lessons() == []


async def test_a_stream_is_passed_on_byte_by_byte_and_done_comes_last() -> None:
    usage = Frame(b"", {"id": "chatcmpl-s", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    b = await bench([chunk("he"), chunk("llo"), usage])
    begun = await b.gateway.stream(ASK)
    assert await read(begun.frames) == chunk("he").raw + chunk("llo").raw + DONE
    record = await b.ledger.find("chatcmpl-s")
    assert record is not None
    assert record.outcome is not None
    assert (record.outcome.input_tokens, record.outcome.output_tokens, record.outcome.measured) == (7, 3, True)


async def test_a_stream_falls_back_before_its_first_byte() -> None:
    b = await bench([UpstreamError("http 503")], [chunk("hello")])
    begun = await b.gateway.stream(ASK)
    assert begun.model == "second"
    assert await read(begun.frames) == chunk("hello").raw + DONE


async def test_a_stream_that_breaks_off_ends_in_an_error_frame() -> None:
    b = await bench([chunk("he"), UpstreamError("broke off")])
    begun = await b.gateway.stream(ASK)
    said = await read(begun.frames)
    assert said.startswith(chunk("he").raw)
    assert said.endswith(DONE)
    assert b'"code":"upstream_error"' in said
    assert b"finish_reason" not in said
    (record,) = await b.ledger.recent(limit=9)
    assert record.outcome is not None
    assert (record.outcome.status, record.outcome.attempts[-1].error) == (Status.FAILED, "broke off")
    assert await b.lessons() == [("first", 0.0, None), ("first", None, None)]


async def test_a_reader_who_leaves_is_on_record_with_what_was_spent() -> None:
    b = await bench([chunk("word " * 100), chunk("more")])
    begun = await b.gateway.stream(ASK)
    frames = begun.frames
    assert await anext(frames)
    await frames.aclose()  # type: ignore[attr-defined]
    (record,) = await b.ledger.recent(limit=9)
    assert record.outcome is not None
    assert (record.outcome.status, record.outcome.measured) == (Status.CANCELLED, False)
    assert record.outcome.cost_usd == pytest.approx((5 * 1.0 + 126 * 2.0) / 1e6)


async def test_who_leaves_while_waiting_is_on_record() -> None:
    asked = asyncio.Event()

    class Silent(ScriptedProvider):
        async def complete(self, call):  # type: ignore[no-untyped-def]
            asked.set()
            await asyncio.Event().wait()

    b = await bench()
    b.gateway._providers = {"p": Silent()}
    waiting = asyncio.create_task(b.gateway.complete(ASK))
    await asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    (record,) = await b.ledger.recent(limit=9)
    assert record.outcome is not None
    assert record.outcome.status is Status.CANCELLED


async def test_without_a_ledger_the_answer_is_given_and_says_so() -> None:
    b = Bench(completion(), ledger=SqlLedger("sqlite:///never-opened.db"))
    done = await b.gateway.complete(ASK)
    assert done.kept is None
    assert Degraded("ledger", "LedgerUnavailable") in b.events
    with pytest.raises(LedgerUnavailable):
        await b.gateway.decide(ASK)
