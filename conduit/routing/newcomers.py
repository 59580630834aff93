"""Models that come while others are known: a newcomer's share grows with its answers, who returns is doubted more."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from conduit.bandits.policy import Vector

KNOWN_AFTER = 50.0
"""Answers; nobody is a newcomer with more."""
FIRST_SHARE = 0.1
"""The most that is asked of a model of which nothing was seen; it grows to all while it becomes known."""
DOUBT = 4.0
"""How much wider the doubt about a model is when it comes or returns; it narrows to 1 with its next answers."""


class Newcomers:
    """`seen` is model -> answers seen of it, in every call."""

    def __init__(self) -> None:
        self._seen_at_arrival: dict[str, float] = {}
        self.beginners: frozenset[str] | None = None
        """Who was seen by the time that the first of all was known; None: nobody is known yet."""

    def watch(self, seen: Mapping[str, float]) -> None:
        """After each observation that is folded: as all processes fold the same ones in the same order, all know the
        same beginners, whenever they were started."""
        if self.beginners is None and max(seen.values(), default=0.0) >= KNOWN_AFTER:
            self.beginners = frozenset(name for name, answers in seen.items() if answers > 0.0)

    def restore(self, beginners: Iterable[str] | None, seen: Mapping[str, float]) -> None:
        """Sums of a time when nobody kept `beginners` count all whom they know as such."""
        self.beginners = frozenset(beginners) if beginners is not None else None
        self.watch(seen)

    def welcome(self, names: Iterable[str], seen: Mapping[str, float]) -> None:
        """`names` came just now. Where nobody is known yet there are no newcomers, only beginners."""
        if max(seen.values(), default=0.0) >= KNOWN_AFTER:
            self._seen_at_arrival |= {name: seen.get(name, 0.0) for name in names}

    def doubt(self, names: Sequence[str], seen: Mapping[str, float]) -> Vector:
        """(k,) at least 1: as Menu.neglect."""
        if self._nobody(names):
            return np.ones(len(names))
        return np.array([self._doubt(name, seen.get(name, 0.0)) for name in names])

    def capped(self, names: Sequence[str], probability: Vector, seen: Mapping[str, float]) -> Vector:
        """(k,) the same with no newcomer above its share; what they may not have goes to the others, as theirs is to
        each other's. Where there are no others nobody is held back."""
        if self._nobody(names):
            return probability
        cap = np.array([self._share(name, seen.get(name, 0.0)) for name in names])
        known = cap >= 1.0
        if (probability <= cap).all() or not known.any():
            return probability
        held = np.minimum(probability, cap)
        rest = np.where(known, probability, 0.0)
        if rest.sum() == 0.0:
            rest = known.astype(float)
        return np.asarray(held + (1.0 - held.sum()) * rest / rest.sum())

    def _nobody(self, names: Sequence[str]) -> bool:
        return not self._seen_at_arrival and (self.beginners is None or self.beginners.issuperset(names))

    def _at_arrival(self, name: str) -> float | None:
        """How much was seen of it when it came; None: it is no newcomer."""
        late = self.beginners is not None and name not in self.beginners
        return self._seen_at_arrival.get(name, 0.0 if late else None)

    def _share(self, name: str, seen: float) -> float:
        if self._at_arrival(name) is None:
            return 1.0
        return FIRST_SHARE + (1.0 - FIRST_SHARE) * min(max(seen, 0.0) / KNOWN_AFTER, 1.0)

    def _doubt(self, name: str, seen: float) -> float:
        at_arrival = self._at_arrival(name)
        if at_arrival is None:
            return 1.0
        return max(DOUBT - (DOUBT - 1.0) * (seen - at_arrival) / KNOWN_AFTER, 1.0)
