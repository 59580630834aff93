"""What an answer will cost and how long it will take: the two signals that are predicted, not explored.

Output tokens and latency are log-normal given the prompt, regressed hierarchically over models like quality
itself; dollars follow from tokens by the list price, which is known exactly.
"""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conduit.bandits.policy import Change, State, Vector
from conduit.bandits.regression import HierarchicalRegression
from conduit.bandits.shrinkage import Hyperprior
from conduit.routing.catalogue import Model
from conduit.routing.decision import Observation
from conduit.routing.query import Incumbent

TYPICAL_TOKENS = 300.0
TYPICAL_LATENCY_S = 2.0
LEAST = 1e-3
"""Signals below it count as it: a logarithm needs a floor."""
FARTHEST = 5.0
"""Forecasts stay within exp(5), 150-fold, of the typical: a regression may say anything far from what it has seen."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is forecast of k models before quality is looked at."""

    models: Sequence[Model]
    cost_usd: Vector
    """(k,) of one request; nan where the price is unknown."""
    latency_s: Vector
    """(k,) nan until anything was seen."""

    def without(self, names: Container[str]) -> "Expected":
        """All but `names`, in the same order."""
        kept = [i for i, model in enumerate(self.models) if model.name not in names]
        return Expected([self.models[i] for i in kept], self.cost_usd[kept], self.latency_s[kept])


def _less_cached(costs_usd: Vector, models: Sequence[Model], input_tokens: int, incumbent: Incumbent) -> Vector:
    """(k,) with what the incumbent's provider has at hand at its lower price."""
    cached = min(incumbent.cached_tokens, input_tokens)
    saved = (m.price.saved_usd(cached) if m.price and m.name == incumbent.model else 0.0 for m in models)
    return np.asarray(costs_usd - np.fromiter(saved, float, len(models)))


class LogNormal:
    """A positive signal whose logarithm is regressed; `typical` is what is expected before anything was seen."""

    def __init__(self, blocks: Sequence[int], typical: float, tau_s: float) -> None:
        self._centre = math.log(typical)
        hyperprior = Hyperprior(scale=1.0, mean=self._centre)
        self._regression = HierarchicalRegression(blocks, hyperprior=hyperprior, tau_s=tau_s)
        self.seen = False

    def learn(self, o: Observation, signal: float | None) -> None:
        if signal is None:
            return
        self.seen = True
        self._regression.add(o.model, o.context, math.log(max(signal, LEAST)), weight=o.weight, time_s=o.time_s)

    def refresh(self) -> None:
        self._regression.refresh()

    def expected(self, x: Vector, models: Sequence[Model]) -> Vector:
        """(k,) the mean exp(m + s2 / 2) of each."""
        return self._natural(self._regression.mean(x, [m.name for m in models]))

    def believed(self, model: Model, contexts: Sequence[Vector]) -> tuple[Vector, Vector]:
        """(n,) the mean of one model in each context, and (n,) the relative standard deviation of that belief."""
        beliefs = [self._regression.predict(x, [model.name]) for x in contexts]
        return self._natural(np.array([mean[0] for mean, _ in beliefs])), np.array([sd[0] for _, sd in beliefs])

    @property
    def weights(self) -> Mapping[str, float]:
        """The sum of weights by model, decayed."""
        return self._regression.weights

    def _natural(self, log: Vector) -> Vector:
        away = log + self._regression.spread.s2 / 2.0 - self._centre
        return np.asarray(np.exp(self._centre + np.minimum(np.maximum(away, -FARTHEST), FARTHEST)))

    @property
    def latest_s(self) -> float:
        """The time of the latest observation."""
        return self._regression.latest_s

    @property
    def changes(self) -> Mapping[str, Change]:
        return self._regression.changes

    def state(self) -> State:
        return self._regression.state()

    def restore(self, state: State) -> None:
        self._regression.restore(state)
        self.seen = bool(state)


class Forecast:
    """Beliefs about tokens and latency. `blocks` and `tau_s` as of HierarchicalRegression."""

    def __init__(self, blocks: Sequence[int], *, tau_s: float = math.inf) -> None:
        self._tokens = LogNormal(blocks, TYPICAL_TOKENS, tau_s)
        self._latency = LogNormal(blocks, TYPICAL_LATENCY_S, tau_s)

    def learn(self, observation: Observation) -> None:
        self._tokens.learn(observation, observation.output_tokens)
        self._latency.learn(observation, observation.latency_s)

    def refresh(self) -> None:
        self._tokens.refresh()
        self._latency.refresh()

    def cost_usd(
        self,
        x: Vector,
        models: Sequence[Model],
        *,
        input_tokens: int,
        most: int | None,
        incumbent: Incumbent | None = None,
    ) -> Vector:
        """(k,) expected dollars of asking each of `models`; nan where the price is unknown."""
        tokens = self._tokens.expected(x, models)
        if most is not None:
            tokens = np.minimum(tokens, most)
        rates = np.array([model.rates for model in models])
        costs_usd = np.asarray(rates[:, 0] * input_tokens + rates[:, 1] * tokens)
        return costs_usd if incumbent is None else _less_cached(costs_usd, models, input_tokens, incumbent)

    def latency_s(self, x: Vector, models: Sequence[Model]) -> Vector:
        """(k,) expected seconds to the end of the answer; nan until anything was seen."""
        return self._latency.expected(x, models) if self._latency.seen else np.full(len(models), math.nan)

    def costs_usd(self, model: Model, contexts: Sequence[Vector], input_tokens: Sequence[int]) -> tuple[Vector, Vector]:
        """(n,) expected dollars of `model` in each context, and (n,) the relative standard deviation of the belief."""
        tokens, doubt = self._tokens.believed(model, contexts)
        input_rate, output_rate = model.rates
        return input_rate * np.asarray(input_tokens) + output_rate * tokens, doubt

    @property
    def signals(self) -> Mapping[str, LogNormal]:
        return {"tokens": self._tokens, "latency": self._latency}

    @property
    def latest_s(self) -> float:
        """The time of the latest observation."""
        return max(self._tokens.latest_s, self._latency.latest_s)

    @property
    def changes(self) -> Mapping[tuple[str, str], Change]:
        """Of (model, signal), in logarithms."""
        return {(name, signal): found for signal, of in self.signals.items() for name, found in of.changes.items()}

    def state(self) -> Mapping[str, State]:
        return {"tokens": self._tokens.state(), "latency": self._latency.state()}

    def restore(self, state: Mapping[str, State]) -> None:
        """Beliefs follow at the next refresh. ValueError when a shape or a number is wrong."""
        self._tokens.restore(state.get("tokens", {}))
        self._latency.restore(state.get("latency", {}))
