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
EXPERIENCE = 1000.0
"""A gateway that starts with so many answers in its ledger has known models, and takes the others for newcomers."""


class Newcomers:
    """`seen` is model -> answers seen of it, in every call."""

    def __init__(self) -> None:
        self._seen_at_arrival: dict[str, float] = {}

    def welcome(self, names: Iterable[str], seen: Mapping[str, float]) -> None:
        """`names` came just now. Where nobody is known yet there are no newcomers, only beginners."""
        if max(seen.values(), default=0.0) >= KNOWN_AFTER:
            self._seen_at_arrival |= {name: seen.get(name, 0.0) for name in names}

    def welcome_unknown(self, names: Iterable[str], seen: Mapping[str, float]) -> None:
        """`names` were there at the start; by what was seen, some of them came with it."""
        if sum(seen.values()) >= EXPERIENCE:
            self.welcome([name for name in names if seen.get(name, 0.0) < KNOWN_AFTER], seen)

    def doubt(self, names: Sequence[str], seen: Mapping[str, float]) -> Vector:
        """(k,) at least 1: as Menu.neglect."""
        if not self._seen_at_arrival:
            return np.ones(len(names))
        return np.array([self._doubt(name, seen.get(name, 0.0)) for name in names])

    def capped(self, names: Sequence[str], probability: Vector, seen: Mapping[str, float]) -> Vector:
        """(k,) the same with no newcomer above its share; what they may not have goes to the others, as theirs is to
        each other's. Where there are no others nobody is held back."""
        if not self._seen_at_arrival:
            return probability
        cap = np.array([self._share(name, seen.get(name, 0.0)) for name in names])
        known = cap >= 1.0
        if known.all() or not known.any():
            return probability
        held = np.minimum(probability, cap)
        rest = np.where(known, probability, 0.0)
        if rest.sum() == 0.0:
            rest = known.astype(float)
        return np.asarray(held + (1.0 - held.sum()) * rest / rest.sum())

    def _share(self, name: str, seen: float) -> float:
        if name not in self._seen_at_arrival:
            return 1.0
        return FIRST_SHARE + (1.0 - FIRST_SHARE) * min(max(seen, 0.0) / KNOWN_AFTER, 1.0)

    def _doubt(self, name: str, seen: float) -> float:
        at_arrival = self._seen_at_arrival.get(name)
        if at_arrival is None:
            return 1.0
        return max(DOUBT - (DOUBT - 1.0) * (seen - at_arrival) / KNOWN_AFTER, 1.0)
