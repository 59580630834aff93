"""Our bandits and MABWiser's, written by others from the same papers, agree on the same stream.

MABWiser's regularisation stays at 1: its linear arms start from the wrong inverse at any other.
"""

from collections.abc import Callable

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy

from conduit.bandits.linear_thompson import LinearThompson
from conduit.bandits.linucb import LinUCB
from conduit.bandits.policy import Menu, Policy
from conduit.bandits.thompson import BetaThompson
from conduit.bandits.ucb1 import UCB1
from tests.unit.bandits.strategies import ARMS, DIMENSION, Seen, context

MENU = Menu(ARMS, np.zeros(len(ARMS)))
DRAWS = 10_000


def binary_stream(seed: int, n: int) -> list[Seen]:
    """Successes and failures that depend on the arm and on x; every arm comes first once."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(len(ARMS), DIMENSION)) * 0.2
    seen = []
    for t in range(n):
        a, x = t if t < len(ARMS) else int(rng.integers(len(ARMS))), context(rng)
        seen.append(Seen(ARMS[a], x, float(rng.random() < 0.5 + theta[a] @ x), 1.0, float(t)))
    return seen


def draws(policy: object, seen: list[Seen], x: np.ndarray) -> np.ndarray:
    """(DRAWS, k) what MABWiser samples for each arm in context x.

    Its linear arms carry copies of one generator and so draw alike; a draw of each is put beside an independent one of
    the others, as the paper has it.
    """
    mab = MAB(list(ARMS), policy, seed=0)
    mab.fit([o.arm for o in seen], [o.y for o in seen], [o.x for o in seen] if mab.is_contextual else None)
    sampled = mab.predict_expectations([x] * DRAWS)
    rng = np.random.default_rng(0)
    return np.array([rng.permutation([row[arm] for row in sampled]) for arm in ARMS]).T


def ours(policy: Policy, seen: list[Seen]) -> Policy:
    for o in seen:
        policy.learn(o.arm, o.x, o.y)
    policy.refresh()
    return policy


def test_linucb_has_the_same_index_and_plays_the_same_arms_when_each_learns_from_its_own_choices() -> None:
    """300 rounds in closed loop; afterwards every arm's index agrees to 1e-8."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(len(ARMS), DIMENSION)) * 0.3
    mine, mab = LinUCB(DIMENSION, alpha=1.25), MAB(list(ARMS), LearningPolicy.LinUCB(alpha=1.25, l2_lambda=1.0), seed=0)
    for t in range(300):
        x = context(rng)
        if t < len(ARMS):
            arm, rest = ARMS[t], ARMS[t]
        else:
            arm, rest = ARMS[mine.distribution(x, MENU).probability.argmax()], mab.predict([x])
        assert arm == rest, t
        y = 0.5 + theta[ARMS.index(arm)] @ x + 0.1 * rng.normal()
        mine.learn(arm, x, y)
        mine.refresh()
        (mab.partial_fit if t else mab.fit)([arm], [y], [x])
    mean, width = mine.ridge.predict(x, ARMS)
    expected = mab.predict_expectations([x])
    np.testing.assert_allclose(mean + 1.25 * width, [expected[arm] for arm in ARMS], atol=1e-8)


def test_ucb1_has_the_same_index() -> None:
    """After each of 200 outcomes both would play the same arm; at the end the unplayed bonus agrees too."""
    mine, mab = UCB1(), MAB(list(ARMS), LearningPolicy.UCB1(alpha=1.0), seed=0)
    seen = binary_stream(1, 200)
    for t, o in enumerate(seen):
        mine.learn(o.arm, o.x, o.y)
        (mab.partial_fit if t else mab.fit)([o.arm], [o.y])
        if t >= len(ARMS):
            index = mab.predict_expectations()
            best = [arm for arm in ARMS if index[arm] >= max(index.values()) - 1e-9]
            pi = mine.distribution(o.x, MENU).probability
            np.testing.assert_allclose(pi, [(arm in best) / len(best) for arm in ARMS])


@pytest.mark.parametrize(
    ("make", "rival"),
    [
        (lambda: BetaThompson(floor=0.0), LearningPolicy.ThompsonSampling()),
        (lambda: LinearThompson(DIMENSION, v=0.5, floor=0.0), LearningPolicy.LinTS(alpha=0.5, l2_lambda=1.0)),
    ],
    ids=["beta", "linear"],
)
@pytest.mark.parametrize("n", [8, 40, 200])
def test_thompson_sampling_has_the_same_beliefs_and_reports_the_shares_of_the_draws(
    make: Callable[[], Policy], rival: object, n: int
) -> None:
    """Over 10 000 draws: means and widths within .02, shares within .03, as Beta beliefs are compared as Gaussians."""
    seen, x = binary_stream(n, n), context(np.random.default_rng(n))
    mine, sampled = ours(make(), seen).distribution(x, MENU), draws(rival, seen, x)
    np.testing.assert_allclose(mine.mean, sampled.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(mine.width, sampled.std(axis=0), atol=0.02)
    shares = np.bincount(sampled.argmax(axis=1), minlength=len(ARMS)) / DRAWS
    np.testing.assert_allclose(mine.probability, shares, atol=0.03)
