"""Embeddings: recorded, paid for under the same caps as completions, and learned from by nobody."""

import asyncio
from typing import Any

import pytest

from conduit.core.budget import GATEWAY, Account, Budget, Caps
from conduit.core.errors import AllModelsFailed, BudgetExceeded, UpstreamError
from conduit.core.events import Decided, Event, Settled
from conduit.core.protocols import Answer, Call
from conduit.core.storage import Place
from conduit.gateway.money.spend_caps import Terms, make_spend_caps
from conduit.gateway.request.embed import Embeddings
from conduit.gateway.request.exchange import Ask
from conduit.routing.catalogue import Catalogue, Model, Price
from conduit.routing.decision import EMBEDDINGS, Status
from conduit.routing.errors import NoEligibleModel, NotFound
from conduit.routing.query import Query
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.reservations import MemoryReservations
from conduit.testing import CountingIds, ScriptedProvider, StillClock

NOW = 1_795_694_400.0
"""2026-11-26, noon UTC."""
DAY = Account(GATEWAY, "2026-11-26", 1.0)
ANSWER: dict[str, Any] = {"data": [{"embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 7, "total_tokens": 7}}
SELL = {"embed-3": Price(1e3, 0.0)}
"""A tenth of a cent a token."""


class Bench:
    def __init__(self, *script: object, cap_usd: float | None = None) -> None:
        self.provider = ScriptedProvider(script or [ANSWER])  # type: ignore[arg-type]
        self.ledger, self.holds, clock = MemoryLedger(), MemoryReservations(), StillClock(NOW)
        self.events: list[Event] = []
        caps = Terms(caps=Caps(usd_per_day=cap_usd), budget=Budget())
        self.spend_caps = make_spend_caps(self.holds, caps, clock=clock, ids=CountingIds(), listener=self.events.append)
        self.embeddings = Embeddings(
            catalogue=lambda: Catalogue([Model("named", "p", price=Price(1e3, 1e6))]),
            providers={"p": self.provider},
            list_price=lambda _, model: SELL.get(model),
            ledger=self.ledger,
            spend_caps=self.spend_caps,
            clock=clock,
            ids=CountingIds(),
            listener=self.events.append,
        )

    async def embed(self, model: str = "p/embed-3", *, size: int = 100) -> Any:
        return await self.embeddings.embed(
            Ask(Query("", input_tokens=25, key_name="team", key_id="key_1"), {}, model, size=size, answers=False)
        )

    async def spent(self) -> float:
        return (await self.holds.spent([DAY]))[0].usd


@pytest.mark.parametrize("name", ["p/embed-3", "embed-3", "named"])
async def test_it_is_on_record_with_tokens_and_dollars_and_teaches_nothing(name: str) -> None:
    """Of the catalogue, or at list price."""
    bench = Bench(cap_usd=1.0)
    done = await bench.embed(name)
    record = await bench.ledger.find(done.decision.id, key_id="key_1")
    assert record is not None
    assert record.outcome == done.outcome
    assert (done.outcome.model, done.outcome.status, done.kept) == (name, Status.ANSWERED, Place.LEDGER)
    assert (done.outcome.input_tokens, done.outcome.output_tokens, done.outcome.measured) == (7, 0, True)
    assert done.outcome.cost_usd == pytest.approx(0.007)
    assert (record.decision.routed, record.decision.domain, record.decision.input_tokens) == (False, EMBEDDINGS, 25)
    assert record.decision.chosen.cost_usd == pytest.approx(0.025)
    assert await bench.ledger.observations(after=0, limit=9) == []
    assert await bench.spent() == pytest.approx(0.007)
    assert bench.events == [Decided(record.decision), Settled(record.decision, done.outcome)]


async def test_tokens_are_estimated_where_the_provider_counts_none() -> None:
    done = await Bench({"data": []}).embed()
    assert (done.outcome.input_tokens, done.outcome.measured) == (25, False)


async def test_a_cap_pays_for_every_byte_before_the_call_and_for_the_tokens_after_it() -> None:
    """A hundred bytes may be a hundred tokens: ten cents of fifteen. The second fits, because the first cost less."""
    bench = Bench(cap_usd=0.15)
    await bench.embed()
    await bench.embed()
    assert await bench.spent() == pytest.approx(0.014)
    with pytest.raises(BudgetExceeded):
        await bench.embed(size=1000)
    assert len(bench.provider.calls) == 2


async def test_what_has_no_price_is_not_asked_under_a_cap() -> None:
    bench = Bench(cap_usd=1.0)
    with pytest.raises(NoEligibleModel, match="price unknown"):
        await bench.embed("p/unheard-of")
    assert bench.provider.calls == []
    assert (await Bench().embed("p/unheard-of")).outcome.cost_usd is None


async def test_a_failure_is_on_record_and_costs_nothing() -> None:
    bench = Bench(UpstreamError("status 500", status=500), cap_usd=0.15)
    for _ in range(2):
        with pytest.raises(AllModelsFailed) as failed:
            await bench.embed()
    record = await bench.ledger.find(failed.value.decision_id or "")
    assert record is not None
    assert record.outcome is not None
    assert (record.outcome.status, record.outcome.cost_usd) == (Status.FAILED, 0.0)
    assert await bench.spent() == 0.0


async def test_a_name_that_nobody_knows_leaves_nothing_and_holds_nothing() -> None:
    bench = Bench(UpstreamError("status 404", status=404), cap_usd=0.15)
    for _ in range(3):
        with pytest.raises(NotFound):
            await bench.embed()
    assert await bench.ledger.recent(limit=9) == []
    assert await bench.holds.used([DAY], now_s=NOW) == [0.0]
    for name in ("", "p/two words", "p/\nset-cookie: x", "p/é", "p/" + "x" * 200):
        with pytest.raises(NotFound):
            await bench.embed(name)
    assert len(bench.provider.calls) == 3


class Silent(ScriptedProvider):
    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def embed(self, call: Call) -> Answer:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError


async def test_who_leaves_may_have_to_pay() -> None:
    bench = Bench(cap_usd=0.15)
    bench.embeddings._providers = {"p": (silent := Silent())}
    call = asyncio.create_task(bench.embed())
    await silent.asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (record,) = await bench.ledger.recent(limit=9)
    assert record.outcome is not None
    assert (record.outcome.status, record.outcome.cost_usd) == (Status.CANCELLED, None)
    assert bench.spend_caps is not None
    await bench.spend_caps.stop()
    assert await bench.spent() == pytest.approx(0.1)
