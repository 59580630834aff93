"""What is believed of the models, as the fold of observations: quality by a policy, cost and latency by forecasts."""

from collections.abc import Mapping, Sequence

import numpy as np

from conduit.bandits.policy import Change, Comparing, Dated, State, Vector, Watching, Weighing
from conduit.bandits.schedule import Schedule
from conduit.bandits.statistics import checked, time_constant
from conduit.routing.catalogue import Catalogue, Model, PriceDecades
from conduit.routing.checks import check_observation
from conduit.routing.decision import Observation
from conduit.routing.forecast import Expected, Forecast, LogNormal
from conduit.routing.newcomers import Newcomers
from conduit.routing.policies import FIXED, make_policy
from conduit.routing.protocols import Features
from conduit.routing.query import Incumbent
from conduit.routing.snapshot import Recipe
from conduit.routing.threads import one_thread


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
        self.policy = make_policy(policy, features.blocks, self._prices, tau_s=tau_s)
        self.fixed = policy.startswith(FIXED)
        self._forecast = Forecast(features.blocks, tau_s=tau_s)
        self.recipe = Recipe(policy, features.version, half_life_s)
        self.reference_cost_usd = catalogue.reference_cost_usd
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

    def costs_usd(self, model: Model, contexts: Sequence[Vector], tokens: Sequence[int]) -> tuple[Vector, Vector]:
        """(n,) what `model` would cost in each context, with (n,) `tokens` in, and (n,) the relative doubt of it; nan
        where its price is unknown."""
        return self._forecast.costs_usd(model, contexts, tokens)

    def replace_catalogue(self, catalogue: Catalogue) -> None:
        """Prices and their scale are those of `catalogue`; of who is no longer in it nothing is forgotten."""
        self._prices.show(catalogue)
        self.reference_cost_usd = catalogue.reference_cost_usd

    @property
    def signals(self) -> Mapping[str, LogNormal]:
        """Tokens and latency, by name."""
        return self._forecast.signals

    @property
    def weights(self) -> Mapping[str, float]:
        """Model -> what is left of its ratings' weights."""
        return self.policy.weights if isinstance(self.policy, Weighing) else self.rated

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
        if o.rival is not None and o.preference is not None and isinstance(self.policy, Comparing):
            self.policy.compare(o.model, o.rival, preference=o.preference, weight=o.weight)
        else:
            self.policy.learn(o.model, o.context, quality, weight=o.weight, time_s=o.time_s)

    @property
    def stale(self) -> bool:
        """Whether enough was folded since the last `refresh` to make another worth its milliseconds."""
        return self._schedule.due(self.folded, self._solved)

    @property
    def behind(self) -> bool:
        """Whether anything at all was folded since."""
        return self.folded != self._solved

    def refresh(self) -> None:
        """Solve the sums into beliefs. Slow (tens of milliseconds); safe beside a choice in another thread,
        not beside `fold`."""
        folded = self.folded
        with one_thread():
            self.policy.refresh()
            self._forecast.refresh()
        self._solved = folded

    @property
    def changes(self) -> Mapping[tuple[str, str], Change]:
        """Of (model, signal): who is no longer what it was, as of the last `refresh`. Tokens and latency shift in
        logarithms."""
        quality = self.policy.changes if isinstance(self.policy, Watching) else {}
        return {(name, "quality"): found for name, found in quality.items()} | dict(self._forecast.changes)

    @property
    def latest_s(self) -> float:
        """The time of the latest observation of all."""
        return max(self._forecast.latest_s, self.policy.latest_s if isinstance(self.policy, Dated) else 0.0)

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
        return {"quality": self.policy.state(), **self._forecast.state(), **counts}

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
        self.policy.restore(state.get("quality", {}))
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
