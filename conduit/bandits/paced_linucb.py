"""Budget-paced LinUCB after ParetoBandit (Taberner-Miller 2026, arXiv 2604.00136): primal and dual step.

    primal   play the arm of largest  theta_a' x + alpha sqrt(x' A_a^-1 x) - (lambda_c + lambda_t) c~_a,   A_a forgets
    dual     ema <- (1 - s) ema + s cost,   lambda_t <- clip(lambda_t + eta (ema / B - 1), 0, bound)

A newcomer is pulled a few times whatever its index: without that an alpha this small stays with whom it met first.
alpha, eta and s are those of the authors' package, version 0.1.1, for a start without labelled prompts; how many pulls
are forced is our choice. What differs, because Conduit's protocol says so:
- c~ is dollars over the dearest arm's instead of their logarithm: utility is linear in dollars for every policy here.
  lambda_c c~ is the cost weight of the preferences, and already in the menu's penalty.
- The bound is 5 dearest / B instead of their 5, which on a logarithm tells cheap arms apart, but on dollars no longer
  those far below the dearest. At ours, nobody a fifth of B dearer than the cheapest is worth it, be it all of quality.
- What a call costs is forecast from calls, not read off a price list.
- It forgets by the time of the decision (forward decay) and not by .997 a request, so that order does not matter; the
  default forgets nothing. The hard ceiling on prices is left out: requirements filter, policies do not.
"""

import math

import numpy as np

from conduit.bandits.argmax import argmax_probability
from conduit.bandits.linear_policy import LinearPolicy
from conduit.bandits.policy import Distribution, Menu, Vector


class PacedLinUCB(LinearPolicy):
    """The primal step; lambda_t reaches it inside the menu's penalty."""

    def __init__(self, dimension: int, *, alpha: float = 0.05, forced: float = 10.0, tau_s: float = math.inf) -> None:
        super().__init__(dimension, tau_s=tau_s)
        self.alpha, self.forced = alpha, forced

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """The newcomers, sharing it; then the arm of largest optimistic utility, with probability 1."""
        mean, width = self.ridge.predict(x, menu.arms)
        index = menu.quality_weight * (mean + self.alpha * width) - menu.penalty
        index[self.ridge.counts(menu.arms) < self.forced] = np.inf
        return Distribution(argmax_probability(index), mean, 0.5 * width)


class DualAscent:
    """The dual step: in place of pacing.Pacer, and with its methods. Not a fold: costs count as they come."""

    def __init__(self, budget_usd: float, *, eta: float = 0.05, smoothing: float = 0.05, bound: float = 5.0) -> None:
        if not budget_usd > 0:
            raise ValueError(f"a budget is positive, got {budget_usd}")
        self.budget_usd, self.eta, self.smoothing, self.bound = budget_usd, eta, smoothing, bound
        self._ema_usd = budget_usd
        self._lambda = 0.0
        self._begun = False
        self._dearest_usd = budget_usd

    @property
    def begun(self) -> bool:
        """Whether it has been shown anything."""
        return self._begun

    @property
    def dearest_usd(self) -> float:
        """No bound: the paper has none."""
        return math.inf

    @property
    def room_usd(self) -> float:
        """The same."""
        return math.inf

    def stint(self, cost_usd: float) -> None:
        """Never asked for."""

    @property
    def price(self) -> float:
        """lambda_t over the dearest arm's dollars: quality per dollar."""
        return self._lambda / self._dearest_usd

    def observe(self, quality: Vector, cost_usd: Vector, width: Vector | float = 0.0) -> None:
        """The scale of costs, from what the arms of one menu are expected to cost (k,)."""
        self._begun = True
        self._dearest_usd = max(self._dearest_usd, float(cost_usd.max()))

    def spend(self, cost_usd: float) -> None:
        """What one request really cost."""
        self._ema_usd += self.smoothing * (cost_usd - self._ema_usd)
        step = self.eta * (self._ema_usd / self.budget_usd - 1.0)
        bound = self.bound * self._dearest_usd / self.budget_usd
        self._lambda = min(max(self._lambda + step, 0.0), bound)
