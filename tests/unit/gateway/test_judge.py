"""The judge over a scripted provider, a ledger and a purse in memory."""

import asyncio
import json
from random import Random

import pytest

from conduit.core.errors import LedgerUnavailable, UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.core.events import Judged, NotJudged
from conduit.core.protocols import Answer, Call, Provider, Timeouts
from conduit.core.storage import SpendStore
from conduit.gateway.judge.client import JudgeClient
from conduit.gateway.judge.judge import CAPACITY, Judge, Terms, own_answers
from conduit.gateway.learning.settle import Settler
from conduit.gateway.request.breaker import Breaker
from conduit.gateway.request.exchange import Ask
from conduit.routing.catalogue import Catalogue, Model, Price
from conduit.routing.errors import ConfigurationError
from conduit.routing.query import Query
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.spend import MemorySpend
from conduit.testing import CountingIds, ScriptedProvider, StillClock, completion
from tests.unit.gateway.test_complete import Bench, chunk, read

DAY_S = 86_400.0
JUDGE = Model("examiner", "j", price=Price(1.0, 2.0))
ASK = Ask(Query("hello", input_tokens=5), {"messages": [{"role": "user", "content": "hello"}]})
GOOD = completion(json.dumps({"mark": "m4rk", "reason": "good", "score": 9}), input_tokens=1000, output_tokens=500)
COST_USD = 0.002

TIMEOUTS = Timeouts()


class Court:
    """A gateway with a judge whose parts can be looked at."""

    def __init__(
        self,
        *script: object,
        answers: tuple[object, ...] = (),
        share: float = 1.0,
        usd_per_day: float = 1.0,
        model: Model = JUDGE,
        provider: Provider | None = None,
        purse: SpendStore | None = None,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self.bench = Bench(*answers)
        self.provider = ScriptedProvider(script or [GOOD])  # type: ignore[arg-type]
        self.purse = purse or MemorySpend()
        self.clock = StillClock(DAY_S / 2)
        self.breaker = Breaker(self.clock)
        self.events = self.bench.events
        self.judge = Judge(
            JudgeClient(model, provider or self.provider, breaker=self.breaker, timeouts=timeouts),
            Terms(share, usd_per_day),
            excluded=own_answers(model, Catalogue([*self.bench.gateway._router.catalogue])),
            purse=self.purse,
            settler=Settler(ledger=self.bench.ledger, clock=self.clock, ids=CountingIds(), listener=self.events.append),
            clock=self.clock,
            listener=self.events.append,
            random=Random(1),
            new_mark=lambda: "m4rk",
        )
        self.bench.gateway._judge = self.judge

    async def ask(self, times: int = 1, ask: Ask = ASK) -> str:
        """The decision of the last answer, once all are judged."""
        for _ in range(times):
            done = await self.bench.gateway.complete(ask)
        await self.judged()
        return done.decision.id

    async def judged(self) -> None:
        await asyncio.gather(*self.judge._tasks)

    @property
    def scores(self) -> list[float]:
        return [event.score for event in self.events if isinstance(event, Judged)]

    @property
    def misses(self) -> list[str]:
        return [event.why for event in self.events if isinstance(event, NotJudged)]


async def test_a_verdict_becomes_feedback_and_teaches_who_answered() -> None:
    c = Court()
    decision = await c.ask()
    record = await c.bench.ledger.find(decision)
    assert record is not None
    assert record.feedback is not None
    assert record.feedback.signals == {"judge_score": 0.9}
    assert [(m, q) for m, q, _ in await c.bench.lessons()] == [("first", None), ("first", 0.9)]
    assert [e for e in c.events if isinstance(e, Judged)] == [Judged(decision, "first", "examiner", 0.9, COST_USD)]


async def test_a_stream_is_judged_after_its_end_as_one_text() -> None:
    c = Court(answers=([chunk("he"), chunk("llo")],))
    begun = await c.bench.gateway.stream(ASK)
    await read(begun.frames)
    await c.judged()
    assert c.scores == [0.9]
    assert "<m4rk answer>\nhello\n<m4rk end>" in str(c.provider.calls[0].body["messages"]).replace("\\n", "\n")


async def test_the_judge_is_asked_for_json_without_chance_and_within_a_limit() -> None:
    c = Court()
    await c.ask()
    body = c.provider.calls[0].body
    assert (body["temperature"], body["response_format"]) == (0, {"type": "json_object"})
    assert body["max_tokens"] == 1024


async def test_the_judge_s_own_calls_are_no_decisions() -> None:
    """They would teach what judging costs where it is forecast what answering does."""
    c = Court()
    await c.ask(3)
    assert (await c.bench.ledger.totals()).decisions == 3


# ------------------------------------------------------------------ what is judged


async def test_a_share_of_the_answers_is_drawn() -> None:
    """A quarter of 400, within four standard deviations, and the same with the same seed."""
    drawn = []
    for _ in range(2):
        c = Court(share=0.25)
        for _ in range(20):
            await c.ask(20)
        drawn.append(len(c.provider.calls))
    assert drawn[0] == drawn[1]
    assert abs(drawn[0] - 100) < 35


async def test_nothing_is_collected_of_an_answer_that_is_not_drawn() -> None:
    c = Court(share=0.0)
    assert c.judge.hear("dec_1", "first", ASK) is None
    await c.ask()
    assert (c.provider.calls, c.misses) == ([], [])


@pytest.mark.parametrize(
    "answer",
    [
        [chunk("he"), UpstreamError("broke off")],
        [chunk("")],
        [chunk(" ")],
    ],
)
async def test_what_broke_off_or_says_nothing_is_not_judged(answer: list[object]) -> None:
    c = Court(answers=(answer,))
    await read((await c.bench.gateway.stream(ASK)).frames)
    await c.judged()
    assert c.provider.calls == []


async def test_who_left_in_the_middle_is_not_judged() -> None:
    c = Court(answers=([chunk("he"), chunk("llo")],))
    frames = (await c.bench.gateway.stream(ASK)).frames
    await anext(frames)
    await frames.aclose()  # type: ignore[attr-defined]
    await c.judged()
    assert c.provider.calls == []


async def test_nobody_judges_their_own_answers_under_any_name() -> None:
    c = Court(model=Model("sold-elsewhere", "j", upstream="first", price=Price(1.0, 2.0)))
    await c.ask()
    assert c.provider.calls == []


def test_the_only_model_judges_itself() -> None:
    """There is nobody else, and no choice that it could tilt."""
    alone = Model("one", "p")
    assert own_answers(alone, Catalogue([alone])) == frozenset()
    assert own_answers(alone, Catalogue([alone, Model("two", "p")])) == {"one"}


# ------------------------------------------------------------------ no verdict


@pytest.mark.parametrize(
    "text", ["8", "[]", json.dumps({"mark": "m3rk", "reason": "", "score": 10}), "give me 10", "{" * 2000]
)
async def test_garbage_is_no_verdict_and_is_paid_for(text: str) -> None:
    c = Court(completion(text, input_tokens=1000, output_tokens=500))
    await c.ask()
    assert (c.scores, c.misses) == ([], ["garbage"])
    assert await c.judge.spent_today_usd() == pytest.approx(COST_USD)
    assert [q for _, q, _ in await c.bench.lessons()] == [None]


async def test_a_refusal_costs_nothing_and_a_timeout_may_have_cost_everything() -> None:
    c = Court(UpstreamError("http 503", status=503), UpstreamTimeout("timed out"), UpstreamError("garbage"))
    await c.ask()
    assert await c.judge.spent_today_usd() == 0.0
    await c.ask(2)
    assert c.misses == ["http 503", "timed out", "garbage"]
    assert await c.judge.spent_today_usd() > 2 * 1024 * 2e-6


async def test_a_judge_that_does_not_count_is_paid_at_the_worst_case() -> None:
    c = Court({**GOOD, "usage": None})
    await c.ask()
    assert c.scores == [0.9]
    assert await c.judge.spent_today_usd() > 1024 * 2e-6


async def test_a_judge_that_fails_again_and_again_is_left_alone() -> None:
    """By the same breaker as everybody."""
    c = Court(UpstreamError("http 503", status=503))
    await c.ask(7)
    assert c.misses == ["http 503"] * 5 + ["unhealthy"] * 2
    assert len(c.provider.calls) == 5


async def test_a_model_that_takes_no_temperature_is_asked_without() -> None:
    """And from then on at once."""
    c = Court(UpstreamRejected("http 400", status=400, body=b""), GOOD)
    await c.ask(2)
    assert c.scores == [0.9, 0.9]
    assert [set(call.body) for call in c.provider.calls[1:]] == [
        {"messages", "max_completion_tokens", "response_format"}
    ] * 2


async def test_a_model_that_takes_nothing_gives_no_verdict() -> None:
    c = Court(UpstreamRejected("http 400", status=400, body=b""))
    await c.ask()
    assert (len(c.provider.calls), c.misses) == (3, ["http 400"])
    assert await c.judge.spent_today_usd() == 0.0


class Hanging(ScriptedProvider):
    """Takes its time: for ever, or until `release` is set."""

    def __init__(self) -> None:
        super().__init__([GOOD])
        self.release = asyncio.Event()

    async def complete(self, call: Call) -> Answer:
        self.calls.append(call)
        await self.release.wait()
        self.calls.pop()
        return await super().complete(call)


async def test_a_judge_that_drips_on_and_on_has_a_limit_in_all() -> None:
    c = Court(provider=Hanging(), timeouts=Timeouts(total_s=0.01))
    await c.ask()
    assert c.misses == ["timed out"]


async def test_no_answer_waits_for_the_judge_and_what_overflows_is_counted() -> None:
    slow = Hanging()
    c = Court(provider=slow)
    for _ in range(CAPACITY + 3):
        await c.bench.gateway.complete(ASK)
    assert c.misses == ["queue full"] * 3
    assert [e.times for e in c.events if isinstance(e, NotJudged)] == [1, 2, 3]
    slow.release.set()
    await c.judged()
    assert len(c.scores) == CAPACITY


async def test_at_the_end_what_runs_may_finish_and_the_rest_is_dropped() -> None:
    slow = Hanging()
    c = Court(provider=slow)
    for _ in range(6):
        await c.bench.gateway.complete(ASK)
    await asyncio.sleep(0)
    stopping = asyncio.create_task(c.judge.stop())
    await asyncio.sleep(0)
    slow.release.set()
    await stopping
    assert (c.scores, c.misses) == ([0.9] * 4, ["stopping"] * 2)
    await c.ask()
    assert c.misses == ["stopping"] * 3


async def test_at_the_end_what_hangs_is_given_up_and_stays_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conduit.gateway.judge.judge.GRACE_S", 0.01)
    c = Court(provider=Hanging())
    await c.bench.gateway.complete(ASK)
    await asyncio.sleep(0)
    await c.judge.stop()
    assert c.misses == ["stopping"]
    assert await c.judge.spent_today_usd() > 0


async def test_without_a_purse_nobody_is_asked() -> None:
    class Away(MemorySpend):
        async def reserve(self, name: str, period: str, *, usd: float, limit_usd: float) -> bool:
            raise LedgerUnavailable("away")

    c = Court(purse=Away())
    await c.ask()
    assert (c.provider.calls, c.misses) == ([], ["LedgerUnavailable"])


async def test_a_bug_behind_the_judge_is_announced() -> None:
    class Broken(ScriptedProvider):
        async def complete(self, call: Call) -> Answer:
            raise ZeroDivisionError

    c = Court(provider=Broken())
    await c.ask()
    assert c.misses == ["ZeroDivisionError"]


# ------------------------------------------------------------------ money


async def test_the_day_s_budget_ends_the_day_s_judging() -> None:
    """Never more than it, though each call is reserved at its worst; the next day there is a new one."""
    c = Court(usd_per_day=0.05)
    await c.ask(40)
    assert 0.05 - 0.01 < await c.judge.spent_today_usd() <= 0.05
    judged = len(c.scores)
    assert c.misses == ["budget spent"] * (40 - judged)
    c.clock.at_s += DAY_S
    assert await c.judge.spent_today_usd() == 0.0
    await c.ask()
    assert len(c.scores) == judged + 1


async def test_many_at_once_do_not_overspend() -> None:
    """Each reserves before it asks."""
    c = Court(usd_per_day=0.02)
    await asyncio.gather(*(c.bench.gateway.complete(ASK) for _ in range(50)))
    await c.judged()
    assert await c.judge.spent_today_usd() <= 0.02
    assert len(c.provider.calls) * COST_USD <= 0.02


async def test_a_judge_for_nothing_needs_no_budget() -> None:
    c = Court(model=Model("examiner", "j", price=Price(0.0, 0.0)), usd_per_day=0.0)
    await c.ask()
    assert c.scores == [0.9]


async def test_no_budget_is_no_judging() -> None:
    c = Court(usd_per_day=0.0)
    await c.ask()
    assert (c.provider.calls, c.misses) == ([], ["budget spent"])


def test_a_judge_whose_price_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"JUDGE_MODEL.*input_usd_per_mtok"):
        Court(model=Model("examiner", "j"))


# ------------------------------------------------------------------ beside others' feedback


@pytest.mark.parametrize("order", ["judge first", "caller first"])
async def test_what_the_caller_says_stands_beside_the_verdict(order: str) -> None:
    """And neither replaces the other; the answer still counts once."""
    c = Court()
    settle = c.judge._settler.settle
    if order == "judge first":
        decision = await c.ask()
        await settle(decision, {"thumbs": "down"})
    else:
        decision = (await c.bench.gateway.complete(ASK)).decision.id
        await settle(decision, {"thumbs": "down"})
        await c.judged()
    record = await c.bench.ledger.find(decision)
    assert record is not None
    assert record.feedback is not None
    assert record.feedback.signals == {"judge_score": 0.9, "thumbs": "down"}
    ledger = c.bench.ledger
    assert isinstance(ledger, MemoryLedger)
    rated = [o for _, o in await ledger.observations(after=0, limit=99) if o.quality is not None]
    assert sum(o.weight * o.quality for o in rated) == pytest.approx(
        record.feedback.quality * sum(o.weight for o in rated)
    )
