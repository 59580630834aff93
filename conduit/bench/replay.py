"""Replay of a routing table with bandit feedback, through the same Router that serves."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from conduit.bench.tables import Recorded, Row
from conduit.routing.catalogue import Model, Price
from conduit.routing.decision import Decision, Observation
from conduit.routing.forecast import TYPICAL_TOKENS
from conduit.routing.query import Preferences, Query
from conduit.routing.router import Router
from conduit.routing.system import CountingIds, StillClock

FOR_PRICES = 100
"""Tables have no list prices; each model's mean cost over so many of the first prompts stands in for its own."""
QUALITY_ONLY = Preferences(quality=1.0, cost=0.0, latency=0.0)
"""Under a budget the shadow price alone says what a dollar is worth."""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision and what came of it."""

    decision: Decision
    row: Row
    model: Model

    @property
    def recorded(self) -> Recorded:
        return self.row.outcomes[self.decision.model]

    def observation(self) -> Observation:
        """All that is learned from: the chosen model's outcome."""
        seen = self.recorded
        return self.decision.observation(
            quality=seen.quality,
            output_tokens=_tokens(seen.cost_usd, self.model.price),
            latency_s=seen.latency_s,
            cost_usd=seen.cost_usd,
        )

    def line(self, *, budget_usd: float | None, seed: int) -> dict[str, Any]:
        """Of a decisions file."""
        budget = {} if budget_usd is None else {"budget_usd": budget_usd}
        chosen = {"id": self.row.id, "model": self.decision.model, "propensity": self.decision.propensity}
        return {**chosen, **budget, "seed": seed}


def shuffled(rows: Sequence[Row], *, seed: int, limit: int | None = None) -> list[Row]:
    order = list(rows)
    random.Random(seed).shuffle(order)  # noqa: S311  an order, not a secret
    return order[:limit]


def replay(
    rows: Sequence[Row],
    *,
    policy: str,
    seed: int,
    budget_usd: float | None = None,
    preferences: Preferences | None = None,
) -> Iterator[Step]:
    """Choose for each row in turn, and learn from nothing but the chosen model's outcome."""
    models = priced_models(rows[:FOR_PRICES])
    wanted = preferences or (Preferences() if budget_usd is None else QUALITY_ONLY)
    clock = StillClock()
    router = Router(models, policy=policy, budget_usd=budget_usd, seed=seed, clock=clock, ids=CountingIds())
    for row in rows:
        clock.at_s += 1.0  # rows have an order and no times: next to nothing decays
        decision = router.choose(Query(row.prompt, preferences=wanted))
        step = Step(decision, row, router.catalogue[decision.model])
        router.learn(step.observation())
        yield step


def priced_models(rows: Sequence[Row]) -> list[Model]:
    """The table's models, each priced so that a typical answer costs what its answers here cost in the mean."""
    means = {m: sum(row.outcomes[m].cost_usd for row in rows) / len(rows) for m in rows[0].outcomes}
    return [Model(m, "table", price=Price(0.0, mean / TYPICAL_TOKENS * 1e6)) for m, mean in means.items()]


def _tokens(cost_usd: float, price: Price | None) -> float | None:
    """What was paid, in typical tokens at the model's price: the part of a cost that the price does not tell."""
    if price is None or price.output_usd_per_mtok == 0:
        return None
    return cost_usd / price.output_usd_per_mtok * 1e6


@dataclass(slots=True)
class Summary:
    """A run in a few numbers."""

    n: int = 0
    quality: float = 0.0
    cost_usd: float = 0.0
    by_model: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step) -> None:
        self.n += 1
        self.quality += (step.recorded.quality - self.quality) / self.n
        self.cost_usd += (step.recorded.cost_usd - self.cost_usd) / self.n
        self.by_model[step.decision.model] += 1


def singles(rows: Iterable[Row]) -> dict[str, tuple[float, float]]:
    """Model -> (mean cost in US dollars, mean quality) of always asking it."""
    rows = list(rows)
    return {
        m: (sum(r.outcomes[m].cost_usd for r in rows) / len(rows), sum(r.outcomes[m].quality for r in rows) / len(rows))
        for m in rows[0].outcomes
    }
