"""Learning from comparisons: utility-based dueling bandits, linear link (Ailon, Karnin & Joachims 2014, section 2).

    P(a's answer is preferred to b's) = (1 + q_a - q_b) / 2,   q = 1/2 + s,   s ~ N(0, 1/4 I)

A duel says +1 or -1 of s_a - s_b, with variance at most 1; a rating y says y - 1/2 of s_a, with variance at most 1/4:

    Lambda = 4 I + sum_duels w (e_a - e_b)(e_a - e_b)' + 4 sum_ratings w e_a e_a',   s^ = Lambda^-1 r

Where qualities exist, as here, the best arm beats every other (Yue & Joachims 2009, section 2) and is the von Neumann
winner (Dudik et al. 2015, section 3). Contexts are not used, and one arm is pulled, not two. A rating is read as what
it is, a noisy q_a, and not as a duel with the mean of the other arms: that mean would depend on the order of
observations and tell nothing more. With ratings alone this is Gaussian Thompson sampling.
"""

import json

import numpy as np

from conduit.bandits.policy import Distribution, Menu, State, Vector
from conduit.bandits.propensity import best_probability, with_floor
from conduit.bandits.statistics import Sums, bounded

RATING, DUEL = 4.0, 1.0  # precisions of one outcome


class Dueling:
    """Sums for each arm that was rated and for each pair that met, in whichever order they came."""

    def __init__(self, *, floor: float = 0.002) -> None:
        self.floor = floor
        self._sums: dict[tuple[str, ...], Sums] = {}

    def compare(self, winner: str, loser: str, *, preference: float = 1.0, weight: float = 1.0) -> None:
        """Fold one comparison; `preference` is 1 for a win, 0 for a draw; a negative weight takes it out again."""
        one, other = sorted((winner, loser))
        sign = 1.0 if one == winner else -1.0
        self._add((one, other), sign * bounded(preference, 1.0), weight)

    def learn(self, arm: str, x: Vector, quality: float, *, weight: float = 1.0, time_s: float = 0.0) -> None:
        """Fold one rating; quality beyond [0, 1] counts as the nearer end."""
        self._add((arm,), max(bounded(quality, 1.0), 0.0) - 0.5, weight)

    def _add(self, who: tuple[str, ...], outcome: float, weight: float) -> None:
        self._sums.setdefault(who, Sums(1)).add(np.ones(1), outcome, weight=weight)

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """Each arm with the probability that it is the best, and the floor."""
        k, known = len(menu.arms), {arm for who in self._sums for arm in who}
        row = {arm: i for i, arm in enumerate([*menu.arms, *sorted(known - set(menu.arms))])}
        Lambda, r = 4.0 * np.eye(len(row)), np.zeros(len(row))
        for who, sums in self._sums.items():
            z, n = np.zeros(len(row)), max(sums.n, 0.0)
            np.add.at(z, [row[arm] for arm in who], (1.0, -1.0)[: len(who)])
            precision = RATING if len(who) == 1 else DUEL
            Lambda += precision * n * np.multiply.outer(z, z)
            r += precision * sums.b[0].clip(-n, n) * z
        covariance = np.linalg.inv(Lambda)
        mean, width = 0.5 + (covariance @ r)[:k], np.sqrt(covariance.diagonal()[:k])
        pi = best_probability(menu.quality_weight * mean - menu.penalty, menu.quality_weight * width)
        return Distribution(with_floor(pi, self.floor), mean, width)

    def refresh(self) -> None:
        """Nothing to solve beforehand: the system is as small as the menu."""

    def state(self) -> State:
        """The sums, by the names of the arm or of the pair."""
        return {json.dumps(who): sums.pack() for who, sums in self._sums.items()}

    def restore(self, state: State) -> None:
        """Replace the sums. ValueError when a name, a shape or a number is wrong."""
        self._sums = {names_of(name): Sums.unpack(packed, 1) for name, packed in state.items()}


def names_of(name: str) -> tuple[str, ...]:
    """Who was rated, or who met."""
    who = json.loads(name) if name.startswith("[") else []
    if len(who) not in {1, 2} or not all(isinstance(arm, str) for arm in who):
        raise ValueError(f"{name!r} names neither an arm nor a pair")
    return tuple(who)
