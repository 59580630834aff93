"""What is believed of the models, as the fold of observations: quality by a policy, cost and latency by forecasts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conduit.bandits.policy import Change, Comparing, Dated, Menu, State, Vector, Watching, Weighing
from conduit.bandits.schedule import Schedule
from conduit.bandits.statistics import checked, time_constant
from conduit.routing.catalogue import Catalogue, Model, PriceDecades
from conduit.routing.checks import check_observation
from conduit.routing.decision import Candidate, Observation
from conduit.routing.forecast import Expected, Forecast
from conduit.routing.newcomers import Newcomers
from conduit.routing.policies import FIXED, make_policy
from conduit.routing.protocols import Features
from conduit.routing.query import Incumbent, Preferences
from conduit.routing.snapshot import Recipe
from conduit.routing.threads import one_thread
from conduit.routing.utility import dollars, penalty

NEGLECT = 1.0
"""c of `_neglect`; see docs/decisions/0015."""


@dataclass(frozen=True, slots=True)
class Belief:
    """Of one signal of one model: quality (0..1), tokens or latency (s)."""

    model: str
    signal: str
    observations: float
    """Weights, as they have decayed."""
    mean: float
    width: float
    """Standard deviation of the belief in the mean; of quality, as far as a choice takes it into account."""


class Beliefs:
    """Folds observations made by `features`; `policy` is a name from policies.POLICIES. An observation counts half
    when one made `half_life_s` later counts whole; 0 forgets nothing."""

    def __init__(
        self,
        policy: str,
        features: Features,
        catalogue: Catalogue,
        *,
        half_life_s: float = 0.0,
        schedule: Schedule | None = None,
    ) -> None:
        tau_s = time_constant(half_life_s)
        self._prices = PriceDecades(catalogue)
        self._policy = make_policy(policy, features.blocks, self._prices, tau_s=tau_s)
        self._fixed = policy.startswith(FIXED)
        self._forecast = Forecast(features.blocks, tau_s=tau_s)
        self.recipe = Recipe(policy, features.version, half_life_s)
        self._reference_cost_usd = catalogue.reference_cost_usd
        self._schedule = schedule or Schedule()
        self.rated: dict[str, float] = {}
        """Model -> how many of its answers were rated."""
        self.seen: dict[str, float] = {}
        """Model -> how many of its answers were seen: rated, or with their tokens counted."""
        self._counted: dict[str, float] = {}
        self.newcomers = Newcomers()
        self._dimension = sum(features.blocks)
        self.folded = 0
        self.set_aside = 0
        """Observations that cannot be folded, whoever wrote them."""
        self._solved = 0

    # -------------------------------------------------------------- looking

    def expect(
        self,
        x: Vector,
        models: Sequence[Model],
        *,
        input_tokens: int,
        most: int | None,
        incumbent: Incumbent | None = None,
    ) -> Expected:
        """What asking each would cost and how long it would take; quality is not looked at yet."""
        cost_usd = self._forecast.cost_usd(x, models, input_tokens=input_tokens, most=most, incumbent=incumbent)
        return Expected(models, cost_usd, self._forecast.latency_s(x, models))

    def consider(
        self,
        x: Vector,
        expected: Expected,
        preferences: Preferences,
        *,
        shadow_price: float | None = None,
        incumbent: Incumbent | None = None,
    ) -> list[Candidate]:
        """The same, in the same order, with the quality that is believed, the utility that follows, and the probability
        with which each is to be drawn. A `shadow_price` of None: there is no budget. Where the `incumbent` is among
        them, all others have to be better by its stickiness."""
        costs = dollars(expected.cost_usd, self._reference_cost_usd)
        penalties = penalty(
            preferences,
            cost_usd=costs,
            latency_s=expected.latency_s,
            reference_cost_usd=self._reference_cost_usd,
            shadow_price=shadow_price or 0.0,
        )
        names = [model.name for model in expected.models]
        if incumbent is not None and incumbent.model in names:
            penalties = penalties + preferences.quality * incumbent.stickiness
            penalties[names.index(incumbent.model)] -= preferences.quality * incumbent.stickiness
        neglect = self.newcomers.doubt(names, self.seen)
        if shadow_price is None:
            neglect = neglect * self._neglect(names)
        menu = Menu(names, penalties, preferences.quality, costs, neglect)
        d = self._policy.distribution(x, menu)
        probability = d.probability if self._fixed else self.newcomers.capped(names, d.probability, self.seen)
        utility = menu.quality_weight * d.mean - menu.penalty
        columns = (names, probability.tolist(), utility.tolist(), d.mean.tolist(), d.width.tolist())
        return list(map(Candidate, *columns, _known(expected.cost_usd), _known(expected.latency_s)))

    def _neglect(self, names: Sequence[str]) -> Vector:
        """(k,) sqrt(1 + c log+(n / (k n_a))), n ratings in all and n_a of each, after MOSS (Audibert and Bubeck 2009).

        A prior that expects models to differ little is cheap under a budget, and may be far from the truth: whoever is
        seldom asked is doubted more as others are asked on, until it has shown what it can do.
        """
        fair = sum(self.rated.values()) / len(names)
        shares = [fair / max(self.rated.get(name, 0.0), 0.5) for name in names]
        return np.array([math.sqrt(1.0 + NEGLECT * math.log(share)) if share > 1.0 else 1.0 for share in shares])

    def costs_usd(self, model: Model, contexts: Sequence[Vector], tokens: Sequence[int]) -> tuple[Vector, Vector]:
        """(n,) what `model` would cost in each context, with (n,) `tokens` in, and (n,) the relative doubt of it; nan
        where its price is unknown."""
        return self._forecast.costs_usd(model, contexts, tokens)

    def replace_catalogue(self, catalogue: Catalogue) -> None:
        """Prices and their scale are those of `catalogue`; of who is no longer in it nothing is forgotten."""
        self._prices.show(catalogue)
        self._reference_cost_usd = catalogue.reference_cost_usd

    def show(self, models: Sequence[Model], contexts: Sequence[Vector]) -> Iterator[Belief]:
        """What is believed of each in the mean over `contexts`."""
        if not models:
            return
        expected = [self.expect(x, models, input_tokens=0, most=None) for x in contexts]
        looked = [self.consider(x, each, Preferences()) for x, each in zip(contexts, expected, strict=True)]
        weights = self._policy.weights if isinstance(self._policy, Weighing) else self.rated
        for i, model in enumerate(models):
            quality = [candidates[i].quality for candidates in looked]
            width = [candidates[i].quality_sd for candidates in looked]
            yield Belief(model.name, "quality", weights.get(model.name, 0.0), _mean(quality), _mean(width))
            for name, signal in self._forecast.signals.items():
                mean, relative = signal.believed(model, contexts)
                n = signal.weights.get(model.name, 0.0)
                yield Belief(model.name, name, n, float(mean.mean()), float((mean * relative).mean()))

    # -------------------------------------------------------------- learning

    def fold(self, observation: Observation) -> None:
        """Add one observation to the sums; beliefs follow at the next `refresh`.

        One made by other features says nothing here, and is passed over. Raises Invalid, and has added nothing then.
        """
        o = observation
        if o.features != self.recipe.features:
            return
        check_observation(o, self._dimension)
        if o.quality is not None:
            self._judge(o, o.quality)
            self.rated[o.model] = self.rated.get(o.model, 0.0) + o.weight
        if o.output_tokens is not None:
            self._counted[o.model] = self._counted.get(o.model, 0.0) + o.weight
        self.seen[o.model] = max(self._counted.get(o.model, 0.0), self.rated.get(o.model, 0.0))
        self.newcomers.watch(self.seen)
        self._forecast.learn(o)
        self.folded += 1

    def _judge(self, o: Observation, quality: float) -> None:
        """Either side of a comparison is half of it to who can compare, and a rating to everybody else."""
        if o.rival is not None and o.preference is not None and isinstance(self._policy, Comparing):
            self._policy.compare(o.model, o.rival, preference=o.preference, weight=o.weight)
        else:
            self._policy.learn(o.model, o.context, quality, weight=o.weight, time_s=o.time_s)

    @property
    def stale(self) -> bool:
        """Whether enough was folded since the last `refresh` to make another worth its milliseconds."""
        return self._schedule.due(self.folded, self._solved)

    @property
    def behind(self) -> bool:
        """Whether anything at all was folded since."""
        return self.folded != self._solved

    def refresh(self) -> None:
        """Solve the sums into beliefs. Slow (tens of milliseconds); safe beside `consider` in another thread,
        not beside `fold`."""
        folded = self.folded
        with one_thread():
            self._policy.refresh()
            self._forecast.refresh()
        self._solved = folded

    @property
    def changes(self) -> Mapping[tuple[str, str], Change]:
        """Of (model, signal): who is no longer what it was, as of the last `refresh`. Tokens and latency shift in
        logarithms."""
        quality = self._policy.changes if isinstance(self._policy, Watching) else {}
        return {(name, "quality"): found for name, found in quality.items()} | dict(self._forecast.changes)

    @property
    def latest_s(self) -> float:
        """The time of the latest observation of all."""
        return max(self._forecast.latest_s, self._policy.latest_s if isinstance(self._policy, Dated) else 0.0)

    def state(self) -> Mapping[str, State]:
        """All sums: equal states are equal beliefs."""
        counts = {
            "rated": {name: np.array([n]) for name, n in self.rated.items()},
            "counted": {name: np.array([n]) for name, n in self._counted.items()},
            "folded": {"": np.array([float(self.folded)])},
        }
        if self.set_aside:
            counts["set aside"] = {"": np.array([float(self.set_aside)])}
        if self.newcomers.beginners is not None:
            counts["beginners"] = {name: np.ones(1) for name in self.newcomers.beginners}
        return {"quality": self._policy.state(), **self._forecast.state(), **counts}

    def restore(self, state: Mapping[str, State]) -> None:
        """Replace all sums by `state`, and renew the beliefs. Raises ValueError when it does not fit; then there are
        none."""
        try:
            self._restore(state)
        except ValueError:
            self._restore({})
            raise
        finally:
            self.refresh()

    def _restore(self, state: Mapping[str, State]) -> None:
        self._policy.restore(state.get("quality", {}))
        self._forecast.restore(state)
        self.rated, self._counted = _numbers(state.get("rated", {})), _numbers(state.get("counted", {}))
        self.seen = {
            name: max(self._counted.get(name, 0.0), self.rated.get(name, 0.0))
            for name in {**self._counted, **self.rated}
        }
        self.newcomers.restore(state.get("beginners"), self.seen)
        self.folded = int(_numbers(state.get("folded", {})).get("", 0.0))
        self.set_aside = int(_numbers(state.get("set aside", {})).get("", 0.0))


def _numbers(state: State) -> dict[str, float]:
    return {name: float(checked(vector, 1)[0]) for name, vector in state.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _known(numbers: Vector) -> list[float | None]:
    return [None if math.isnan(number) else number for number in numbers.tolist()]
