"""Savings: what they come to where the truth is known, and how seldom the ledger is walked for them."""

import random
from collections.abc import Sequence
from typing import Any

from conduit import Model, Price, Router
from conduit.gateway.learning.follow import Follower
from conduit.gateway.stats.stats import Stats
from conduit.routing.decision import Decision, Outcome, Record, Status
from conduit.routing.savings import account
from conduit.routing.system import CountingIds, StillClock
from conduit.stores.memory.ledger import MemoryLedger
from tests.support.plain import PlainFeatures

MODELS = [Model("cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]
QUALITY = {"cheap": 0.3, "dear": 0.9}
TOKENS = {"cheap": 100, "dear": 200}


def router(policy: str = "uniform") -> Router:
    more: dict[str, Any] = {"features": PlainFeatures(), "clock": StillClock(5.0), "ids": CountingIds()}
    return Router(MODELS, policy=policy, seed=1, **more)


def answered(decision: Decision, r: Router) -> Outcome:
    model = r.catalogue[decision.model]
    return Outcome(
        decision.id,
        6.0,
        model.name,
        Status.ANSWERED,
        (),
        input_tokens=10,
        output_tokens=TOKENS[model.name],
        cost_usd=model.cost_usd(10, TOKENS[model.name]),
    )


class Counted(MemoryLedger):
    """Counts how often it is walked."""

    walks = 0

    async def recent(self, *, limit: int, before: str | None = None, key_id: str | None = None) -> Sequence[Record]:
        self.walks += 1
        return await super().recent(limit=limit, before=before, key_id=key_id)


async def filled(r: Router, n: int) -> Counted:
    ledger, chance = Counted(), random.Random(3)
    for _ in range(n):
        decision = r.choose("hello")
        quality = float(chance.random() < QUALITY[decision.model])
        seen = decision.observation(quality=quality, output_tokens=TOKENS[decision.model])
        await ledger.append(decision, answered(decision, r), seen)
    return ledger


def stats(ledger: MemoryLedger, r: Router) -> Stats:
    def silent(_: object, /) -> None: ...

    follower = Follower(ledger=ledger, router=r, listener=silent, interval_s=60.0)
    return Stats(
        ledger=ledger,
        router=r,
        follower=follower,
        baseline=lambda _: "cheap",
        every_s=60.0,
        clock=StillClock(5.0),
        listener=silent,
    )


async def test_savings_are_those_of_the_baseline_and_of_the_best() -> None:
    """Half of the requests went to either: half the difference was lost against the cheap one, or won."""
    r = router("hierarchical")
    writer = router()
    ledger = await filled(writer, 400)
    figure = await stats(ledger, r).account()
    found = figure.value
    assert (found.baseline, found.best, found.requests) == ("cheap", "dear", 400)
    costs = {m.name: m.cost_usd(10, TOKENS[m.name]) or 0.0 for m in MODELS}
    spent = sum(costs[d.decision.model] for d in await ledger.recent(limit=400)) / 400
    for saved, name in ((found.against_baseline, "cheap"), (found.against_best, "dear")):
        assert saved is not None
        assert saved.low <= costs[name] - spent <= saved.high
        assert saved.high - saved.low < costs["dear"] / 4


async def test_the_ledger_is_not_walked_again_while_the_figure_is_good() -> None:
    ledger = await filled(router(), 40)
    kept = stats(ledger, router())
    first = await kept.account()
    walks = ledger.walks
    assert (await kept.account()) == first
    assert ledger.walks == walks


async def test_totals_of_a_small_ledger_are_of_now() -> None:
    r = router()
    ledger = await filled(r, 3)
    kept = stats(ledger, router())
    assert (await kept.totals()).value.decisions == 3
    await ledger.append(r.choose("more"))
    assert (await kept.totals()).value.decisions == 4


def test_too_few_are_no_conclusion() -> None:
    found = account([], router=router(), baseline=lambda _: "cheap")
    assert (found.best, found.against_baseline, found.against_best, found.requests) == (None, None, None, 0)
