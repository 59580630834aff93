"""A policy without context until enough was seen, then one with it: the idea of ashita-ai/conduit's hybrid router.

There UCB1 hands over to LinUCB after 2000 queries at 386 features; the same five observations to a feature are the
default here. There the second starts empty, with the first one's means written into its sums; here both learn from the
first observation, so that nothing has to be handed over, and the switch is a function of the sums alone.
"""

import numpy as np

from conduit.bandits.policy import Distribution, Menu, Policy, State, Vector
from conduit.bandits.statistics import MAX_WEIGHT, bounded, checked

FIRST, THEN, COUNT = "first:", "then:", "count"


class Hybrid:
    """`first` chooses while the weights of all observations come to less than `switch`, and `then` from there on."""

    def __init__(self, first: Policy, then: Policy, *, switch: float) -> None:
        self.first, self.then, self.switch = first, then, switch
        self._n = 0.0

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """That of whose turn it is."""
        return (self.first if self._n < self.switch else self.then).distribution(x, menu)

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Both learn."""
        self.first.learn(arm, x, quality, weight=weight, time_s=time_s)
        self.then.learn(arm, x, quality, weight=weight, time_s=time_s)
        self._n += bounded(weight, MAX_WEIGHT)

    def refresh(self) -> None:
        """Both solve."""
        self.first.refresh()
        self.then.refresh()

    def state(self) -> State:
        """Both states under their prefixes, and n."""
        first = {FIRST + name: sums for name, sums in self.first.state().items()}
        then = {THEN + name: sums for name, sums in self.then.state().items()}
        return {**first, **then, COUNT: np.array([self._n])}

    def restore(self, state: State) -> None:
        """Replace both. ValueError for what is neither's, and where the count is missing beside sums."""
        parts: dict[str, dict[str, Vector]] = {FIRST: {}, THEN: {}}
        for name, sums in state.items():
            prefix = next((p for p in parts if name.startswith(p)), None)
            if prefix is not None:
                parts[prefix][name.removeprefix(prefix)] = sums
            elif name != COUNT:
                raise ValueError(f"{name!r} is of neither {FIRST} nor {THEN}")
        n = checked(state.get(COUNT, np.zeros(0 if state else 1)), 1)
        before = self.first.state()
        self.first.restore(parts[FIRST])
        try:
            self.then.restore(parts[THEN])
        except ValueError:
            self.first.restore(before)
            raise
        self._n = float(n[0])
