"""What every policy is: beliefs that turn a context and a menu of arms into a distribution, and that learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
State = Mapping[str, Vector]
"""A policy's sums by name: additive over observations, and all that a snapshot has to keep."""


@dataclass(frozen=True, slots=True)
class Menu:
    """The arms that may be pulled now, and what pulling each costs.

    Utility of arm a with quality q_a is ``quality_weight * q_a - penalty[a]``; price, latency and the
    budget's shadow price are all inside ``penalty``, because they are forecast and not explored.
    """

    arms: Sequence[str]
    penalty: Vector
    """(k,) in units of utility."""
    quality_weight: float = 1.0
    cost: Vector | None = None
    """(k,) the price alone, in any unit, for who looks at nothing else."""
    neglect: Vector | float = 1.0
    """(k,) at least 1: how much wider the doubt about an arm is to be taken because it was seldom tried."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a policy answers: with which probability each arm of the menu should be pulled, and why."""

    probability: Vector
    """(k,) sums to one."""
    mean: Vector
    """(k,) expected quality."""
    width: Vector
    """(k,) standard deviation of that expectation, as far as the choice took it into account."""


@dataclass(frozen=True, slots=True)
class Change:
    """An arm is no longer what it was."""

    since_s: float
    """Time of the first decision after."""
    shift: float
    """How much more of the signal there is since, in its own units."""
    z: float
    n: float
    """Sum of weights since."""


class Policy(Protocol):
    """The one seam of the mathematics. The caller draws; the policy never does."""

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """How to choose from `menu` in context `x` (d,). Reads beliefs, never changes them."""
        ...

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one observation into the sums. A negative `weight` retracts what was folded with the same `time_s`."""
        ...

    def refresh(self) -> None:
        """Solve the sums into the beliefs that `distribution` reads. May be slow: call it off the request path."""
        ...

    def state(self) -> State:
        """The sums, copied."""
        ...

    def restore(self, state: State) -> None:
        """Replace the sums by `state`. Raises ValueError when it does not fit this policy."""
        ...


@runtime_checkable
class Comparing(Protocol):
    """A policy that learns from comparisons as they are, and not only from ratings."""

    def compare(self, winner: str, loser: str, *, preference: float = 1.0, weight: float = 1.0) -> None:
        """Fold one comparison; `preference` is 1 for a win, 0 for a draw, -1 for a loss after all."""
        ...


@runtime_checkable
class Weighing(Protocol):
    """A policy whose observations lose weight with time."""

    @property
    def weights(self) -> Mapping[str, float]:
        """What is left of them, by arm."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A policy that knows when the latest of its observations was."""

    @property
    def latest_s(self) -> float:
        """Its time: the landmark of forward decay."""
        ...


@runtime_checkable
class Watching(Protocol):
    """A policy that notices when an arm is no longer what it was."""

    @property
    def changes(self) -> Mapping[str, Change]:
        """Of quality, by arm, as of the last refresh."""
        ...
