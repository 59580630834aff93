"""The router: pure, synchronous, seeded. It chooses, and it learns; it knows no network, no database and no clock."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from conduit.bandits.pacing import Pacer
from conduit.bandits.policy import Distribution, Menu, State, Vector
from conduit.bandits.schedule import Schedule
from conduit.core.catalogue import Catalogue, Model
from conduit.core.decision import Candidate, Decision, Observation
from conduit.core.eligibility import screen
from conduit.core.errors import NoEligibleModel
from conduit.core.features import TextFeatures
from conduit.core.forecast import Forecast
from conduit.core.policies import DEFAULT_POLICY, make_policy
from conduit.core.protocols import Clock, Features, Ids
from conduit.core.query import Query
from conduit.core.reward import dearest, penalty
from conduit.core.system import SystemClock, TimeOrderedIds

NOBODY: Mapping[str, str] = MappingProxyType({})


class Router:
    """Which model should answer which prompt.

    `models` is who can be chosen; `policy` a name from policies.POLICIES; `budget_usd` the mean US dollars a
    request that may be spent over an open-ended stream (None: no budget); `seed` fixes every draw.

    >>> from conduit import Model, Price, Router
    >>> router = Router([Model("a", "p", price=Price(1, 2)), Model("b", "p", price=Price(10, 20))], seed=1)
    >>> decision = router.choose("What is 2 + 2?")
    >>> router.learn(decision.observation(quality=0.9, output_tokens=12))
    """

    def __init__(
        self,
        models: Iterable[Model],
        *,
        policy: str = DEFAULT_POLICY,
        budget_usd: float | None = None,
        seed: int | None = None,
        features: Features | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.catalogue = models if isinstance(models, Catalogue) else Catalogue(models)
        self.features = features or TextFeatures()
        self.policy_name = policy
        self._policy = make_policy(policy, self.features.blocks)
        self._forecast = Forecast(self.features.blocks)
        self._pacer = Pacer(budget_usd) if budget_usd is not None else None
        self._random = np.random.default_rng(seed)
        self._clock, self._ids = clock or SystemClock(), ids or TimeOrderedIds()
        self._schedule = schedule or Schedule()
        self._reference_cost_usd = self.catalogue.reference_cost_usd
        self.folded = 0
        self._solved = 0

    # -------------------------------------------------------------- choosing

    def choose(self, query: Query | str, *, unavailable: Mapping[str, str] = NOBODY) -> Decision:
        """Draw a model for `query`. `unavailable` says who is unhealthy, and why.

        Raises NoEligibleModel when the requirements leave nobody.
        """
        query = Query(query) if isinstance(query, str) else query
        x = self._context(query)
        everyone = self._expectations(x, query)
        removed = screen(self.catalogue.models, query, forecast=everyone, unavailable=unavailable)
        eligible = [everyone[m.name] for m in self.catalogue if m.name not in removed]
        if not eligible:
            raise NoEligibleModel(removed)
        menu = self._menu(eligible, query)
        distribution = self._policy.distribution(x, menu)
        if self._pacer is not None:
            self._pacer.observe(distribution.mean, self._costs(eligible))
        drawn = eligible[self._draw(distribution.probability)].model
        candidates = _ranked(eligible, menu, distribution)
        return self._decision(query, x, drawn, candidates, removed=removed, routed=True)

    def assign(self, query: Query, model: str) -> Decision:
        """The decision that a caller made who named the `model`. Raises NotFound for a name not in the catalogue."""
        x = self._context(query)
        named = self._expected(x, [self.catalogue[model]], query)
        menu = self._menu(named, query)
        candidates = _ranked(named, menu, self._policy.distribution(x, menu))
        return self._decision(query, x, model, candidates, removed={}, routed=False)

    def _context(self, query: Query) -> Vector:
        """Rounded to what the ledger keeps (float32), so that what was served is what is replayed."""
        return self.features.context(query.text).astype(np.float32).astype(np.float64)

    def _expectations(self, x: Vector, query: Query) -> dict[str, Candidate]:
        expected = self._expected(x, self.catalogue.models, query)
        if query.requirements.min_quality is not None:
            expected = _ranked(expected, menu := self._menu(expected, query), self._policy.distribution(x, menu))
        return {candidate.model: candidate for candidate in expected}

    def _expected(self, x: Vector, models: Sequence[Model], query: Query) -> list[Candidate]:
        tokens = query.estimated_input_tokens
        costs = self._forecast.cost_usd(x, models, input_tokens=tokens, most=query.max_output_tokens)
        latencies = self._forecast.latency_s(x, models)
        return [
            Candidate(model.name, 0.0, 0.0, 0.0, 0.0, _known(cost), _known(latency))
            for model, cost, latency in zip(models, costs, latencies, strict=True)
        ]

    def _menu(self, candidates: Sequence[Candidate], query: Query) -> Menu:
        weights = penalty(
            query.preferences,
            cost_usd=_nan_for_none([c.cost_usd for c in candidates]),
            latency_s=_nan_for_none([c.latency_s for c in candidates]),
            reference_cost_usd=self._reference_cost_usd,
            shadow_price=self.shadow_price,
        )
        return Menu([c.model for c in candidates], weights, query.preferences.quality)

    def _costs(self, candidates: Sequence[Candidate]) -> Vector:
        costs = _nan_for_none([c.cost_usd for c in candidates])
        return np.where(np.isnan(costs), dearest(costs, self._reference_cost_usd), costs)

    def _draw(self, probability: Vector) -> int:
        edge = np.searchsorted(np.cumsum(probability), self._random.random(), side="right")
        return min(int(edge), len(probability) - 1)

    def _decision(
        self, query: Query, x: Vector, model: str, candidates: list[Candidate], *, removed: dict[str, str], routed: bool
    ) -> Decision:
        drawn = next(c for c in candidates if c.model == model)
        return Decision(
            id=self._ids.new("dec"),
            time_s=self._clock.now_s(),
            model=model,
            propensity=drawn.probability,
            candidates=tuple(candidates),
            removed=removed,
            why=_why(drawn, candidates) if routed else "the caller named it",
            policy=self.policy_name,
            routed=routed,
            context=x,
            features=self.features.version,
            domain=self.features.domain(query.text),
            input_tokens=query.estimated_input_tokens,
            shadow_price=self.shadow_price,
            key_id=query.key_id,
            user_id=query.user_id,
        )

    def expected_cost_usd(
        self, model: str, contexts: Sequence[Vector], input_tokens: Sequence[int]
    ) -> tuple[Vector, Vector]:
        """(n,) what `model` would cost in each context, in US dollars, and (n,) the relative doubt of that belief.

        Raises NotFound; nan where its price is unknown.
        """
        return self._forecast.costs_usd(self.catalogue[model], contexts, input_tokens)

    # -------------------------------------------------------------- learning

    def learn(self, observation: Observation) -> None:
        """Fold one observation, and renew the beliefs when that is due."""
        self.fold(observation)
        if self.stale:
            self.refresh()

    def fold(self, observation: Observation) -> None:
        """Add one observation to the sums; beliefs follow at the next `refresh`.

        One made by other features than this router's says nothing here, and is passed over.
        """
        o = observation
        if o.features != self.features.version:
            return
        if o.quality is not None:
            self._policy.learn(o.model, o.context, o.quality, weight=o.weight, time_s=o.time_s)
        self._forecast.learn(o)
        if self._pacer is not None and o.cost_usd is not None:
            self._pacer.spend(o.cost_usd)
        self.folded += 1

    @property
    def stale(self) -> bool:
        """Whether enough was folded since the last `refresh` to make another worth its milliseconds."""
        return self._schedule.due(self.folded, self._solved)

    @property
    def behind(self) -> bool:
        """Whether anything at all was folded since."""
        return self.folded != self._solved

    def refresh(self) -> None:
        """Solve the sums into beliefs. Slow (tens of milliseconds); safe beside `choose` in another thread,
        not beside `fold`."""
        folded = self.folded
        self._policy.refresh()
        self._forecast.refresh()
        self._solved = folded

    @property
    def shadow_price(self) -> float:
        """Quality per US dollar that the budget asks for just now."""
        return self._pacer.price if self._pacer is not None else 0.0

    def state(self) -> Mapping[str, State]:
        """All sums: equal states are equal beliefs."""
        return {"quality": self._policy.state(), **self._forecast.state()}


def _ranked(candidates: Sequence[Candidate], menu: Menu, distribution: Distribution) -> list[Candidate]:
    """With the policy's view of each, the best expected utility first."""
    utility = menu.quality_weight * distribution.mean - menu.penalty
    seen = [
        Candidate(c.model, float(p), float(u), float(q), float(sd), c.cost_usd, c.latency_s)
        for c, p, u, q, sd in zip(
            candidates, distribution.probability, utility, distribution.mean, distribution.width, strict=True
        )
    ]
    return sorted(seen, key=lambda c: -c.utility)


def _why(drawn: Candidate, candidates: Sequence[Candidate]) -> str:
    if len(candidates) == 1:
        return "the only eligible model"
    best, second = candidates[:2]
    if drawn is best:
        return f"best expected utility, {drawn.utility - second.utility:.3f} above {second.model}"
    behind = f"{best.model} is expected to be {best.utility - drawn.utility:.3f} better"
    return f"explored with probability {drawn.probability:.3f}; {behind}"


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def _nan_for_none(numbers: Sequence[float | None]) -> Vector:
    return np.array([np.nan if n is None else n for n in numbers])
