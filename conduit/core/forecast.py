"""What an answer will cost and how long it will take: the two signals that are predicted, not explored.

Output tokens and latency are log-normal given the prompt, regressed hierarchically over models like quality
itself; dollars follow from tokens by the list price, which is known exactly.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from conduit.bandits.policy import State, Vector
from conduit.bandits.regression import HierarchicalRegression
from conduit.bandits.shrinkage import Hyperprior
from conduit.core.catalogue import Model
from conduit.core.decision import Observation

PRIOR_OUTPUT_TOKENS = 300.0
PRIOR_LATENCY_S = 2.0
LEAST = 1e-3
"""Signals below it count as it: a logarithm needs a floor."""


class Forecast:
    """Beliefs about tokens and latency. `blocks` are the features' (see HierarchicalRegression)."""

    def __init__(self, blocks: Sequence[int]) -> None:
        self._tokens = HierarchicalRegression(blocks, hyperprior=Hyperprior(mean=math.log(PRIOR_OUTPUT_TOKENS)))
        self._latency = HierarchicalRegression(blocks, hyperprior=Hyperprior(mean=math.log(PRIOR_LATENCY_S)))
        self._timed = False

    def learn(self, observation: Observation) -> None:
        o = observation
        self._timed |= o.latency_s is not None
        for regression, signal in ((self._tokens, o.output_tokens), (self._latency, o.latency_s)):
            if signal is not None:
                log = math.log(max(signal, LEAST))
                regression.add(o.model, o.context, log, weight=o.weight, time_s=o.time_s)

    def refresh(self) -> None:
        self._tokens.refresh()
        self._latency.refresh()

    def cost_usd(self, x: Vector, models: Sequence[Model], *, input_tokens: int, most: int | None) -> Vector:
        """(k,) expected dollars of asking each of `models`; nan where the price is unknown."""
        tokens = self._expected(self._tokens, x, models)
        if most is not None:
            tokens = np.minimum(tokens, most)
        costs = [m.cost_usd(input_tokens, t) for m, t in zip(models, tokens, strict=True)]
        return np.array([math.nan if c is None else c for c in costs])

    def latency_s(self, x: Vector, models: Sequence[Model]) -> Vector:
        """(k,) expected seconds to the end of the answer; nan until anything was seen."""
        if not self._timed:
            return np.full(len(models), math.nan)
        return self._expected(self._latency, x, models)

    def costs_usd(self, model: Model, contexts: Sequence[Vector], input_tokens: Sequence[int]) -> tuple[Vector, Vector]:
        """(n,) expected dollars of `model` in each context, and (n,) the relative standard deviation of the belief."""
        beliefs = [self._tokens.predict(x, [model.name]) for x in contexts]
        log_tokens, doubt = np.array([mean[0] for mean, _ in beliefs]), np.array([sd[0] for _, sd in beliefs])
        tokens = np.exp(np.minimum(log_tokens + self._tokens.spread.s2 / 2.0, 700.0))
        costs = [model.cost_usd(i, t) for i, t in zip(input_tokens, tokens, strict=True)]
        return np.array([math.nan if c is None else c for c in costs]), doubt

    @staticmethod
    def _expected(regression: HierarchicalRegression, x: Vector, models: Sequence[Model]) -> Vector:
        """Mean of a log-normal: exp(m + s2 / 2)."""
        mean = regression.mean(x, [m.name for m in models])
        return np.asarray(np.exp(np.minimum(mean + regression.spread.s2 / 2.0, 700.0)))

    def state(self) -> Mapping[str, State]:
        return {"tokens": self._tokens.state(), "latency": self._latency.state()}
