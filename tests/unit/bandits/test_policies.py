"""What holds for every policy, whatever it believes."""

import itertools
import math
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.bandits.baselines import Fixed, Uniform
from conduit.bandits.hierarchical import HierarchicalThompson
from conduit.bandits.policy import Menu, Policy
from conduit.bandits.thompson import BetaThompson
from tests.unit.bandits.strategies import ARMS, BLOCKS, DIMENSION, Seen, context, seeds, stream

Make = Callable[[], Policy]
LEARNERS: dict[str, Make] = {
    "hierarchical": lambda: HierarchicalThompson(BLOCKS, floor=0.01),
    "beta": lambda: BetaThompson(floor=0.01),
}
EVERYONE: dict[str, Make] = LEARNERS | {"uniform": Uniform, "fixed": lambda: Fixed("bee")}

everyone = pytest.mark.parametrize("make", EVERYONE.values(), ids=EVERYONE.keys())
learners = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS.keys())

X = context(np.random.default_rng(0))
PENALTY = np.array([0.1, 0.0, 0.3, 0.05])
MENU = Menu(ARMS, PENALTY)


def taught(make: Make, seen: list[Seen]) -> Policy:
    policy = make()
    for o in seen:
        policy.learn(o.arm, o.x, o.y, weight=o.weight, time_s=o.time_s)
    policy.refresh()
    return policy


@everyone
def test_probabilities_are_nonnegative_and_sum_to_one(make: Make) -> None:
    pi = taught(make, stream(0, 50)).distribution(X, MENU).probability
    assert (pi >= 0).all()
    assert pi.sum() == pytest.approx(1.0)


@learners
def test_no_arm_falls_below_the_floor(make: Make) -> None:
    seen = [Seen(arm, X, float(arm == "ant"), 1.0, 0.0) for arm in ARMS * 200]
    pi = taught(make, seen).distribution(X, Menu(ARMS, np.zeros(4))).probability
    assert pi.min() == pytest.approx(0.01 / 4, rel=1e-6)
    assert pi[0] > 0.98


@everyone
@given(seed=seeds)
@settings(max_examples=20)
def test_permuting_the_menu_permutes_the_distribution(make: Make, seed: int) -> None:
    policy = taught(make, stream(seed, 30))
    order = np.random.default_rng(seed).permutation(len(ARMS))
    permuted = policy.distribution(X, Menu([ARMS[i] for i in order], PENALTY[order]))
    np.testing.assert_allclose(permuted.probability, policy.distribution(X, MENU).probability[order], atol=1e-9)


@everyone
def test_a_menu_of_one_is_certain(make: Make) -> None:
    np.testing.assert_allclose(make().distribution(X, Menu(["ant"], np.zeros(1))).probability, [1.0])


@learners
def test_an_arm_is_chosen_less_as_its_penalty_grows(make: Make) -> None:
    policy = taught(make, stream(0, 50))
    shares = [
        policy.distribution(X, Menu(ARMS, np.array([p, 0.0, 0.0, 0.0]))).probability[0] for p in (-0.2, 0.0, 0.2, 0.5)
    ]
    assert shares == sorted(shares, reverse=True)


@learners
def test_a_better_arm_is_learned_from_what_was_seen(make: Make) -> None:
    """After 200 outcomes an arm better by .3 has nine choices in ten."""
    rng = np.random.default_rng(0)
    seen = [Seen(arm, context(rng), 0.8 if arm == "cow" else 0.5, 1.0, 0.0) for arm in ARMS * 50]
    assert taught(make, seen).distribution(X, Menu(ARMS, np.zeros(4))).probability[2] > 0.9


@learners
def test_retracting_every_observation_returns_the_prior(make: Make) -> None:
    seen = stream(0, 50)
    back = [Seen(o.arm, o.x, o.y, -o.weight, o.time_s) for o in seen]
    np.testing.assert_allclose(
        taught(make, seen + back).distribution(X, MENU).probability, make().distribution(X, MENU).probability, atol=1e-6
    )


@everyone
def test_a_restored_state_gives_the_same_distribution(make: Make) -> None:
    one, other = taught(make, stream(0, 50)), make()
    other.restore(one.state())
    other.refresh()
    np.testing.assert_array_equal(one.distribution(X, MENU).probability, other.distribution(X, MENU).probability)


@everyone
def test_a_state_of_wrong_shape_or_not_finite_is_refused(make: Make) -> None:
    for bad in (np.zeros(2), np.full(DIMENSION * (DIMENSION + 3) // 2 + 4, np.nan)):
        with pytest.raises(ValueError, match=r"finite|no state"):
            make().restore({"ant": bad})


@everyone
def test_the_same_observations_give_the_same_floats(make: Make) -> None:
    one, other = (taught(make, stream(4, 60)).distribution(X, MENU).probability for _ in range(2))
    np.testing.assert_array_equal(one, other)


@learners
def test_1e5_adversarial_observations_leave_finite_beliefs_that_can_still_learn(make: Make) -> None:
    """Huge, tiny and equal values, repeated contexts, reversed times, more retracted than there was: never NaN, never
    below the floor."""
    rng = np.random.default_rng(0)
    policy = make()
    values = np.array([0.0, 1.0, -1e300, 1e300, 1e-300, 0.5])[rng.integers(6, size=100_000)]
    contexts = [X, np.zeros(DIMENSION), np.full(DIMENSION, 1e9), np.full(DIMENSION, 1e-300), context(rng), -X]
    which, arms, weights = (
        rng.integers(6, size=100_000),
        rng.integers(4, size=100_000),
        rng.choice([1.0, 1.0, 1e-9, 1e9, -1.0, -1e9], size=100_000),
    )
    for i, (y, c, a, w) in enumerate(
        zip(values.tolist(), which.tolist(), arms.tolist(), weights.tolist(), strict=True)
    ):
        policy.learn(ARMS[a], contexts[c], y, weight=w, time_s=float(i % 977))
        if i % 1000 == 0:
            policy.refresh()
            answer = policy.distribution(X, MENU)
            assert np.isfinite([answer.probability, answer.mean, answer.width]).all()
            assert answer.probability.sum() == pytest.approx(1.0)
            assert answer.probability.min() >= 0.01 / 4 * (1 - 1e-9)
    assert all(np.isfinite(packed).all() for packed in policy.state().values())


WEIGHTS = st.sampled_from([(-1.0,), (1.0, -1.0), (1.0, 1.0, 1e-9, 1e9, -1.0, -1e9), (1e3, -1e3, 0.3, -0.3)])
OUTCOMES = st.sampled_from([(0.0, 0.5, 1.0), (1e6,), (0.0, -1e300, 1e300)])


@given(seeds, WEIGHTS, OUTCOMES, st.sampled_from([math.inf, 1000.0]), st.integers(-8, 9))
def test_whatever_sums_are_left_beliefs_are_numbers(
    seed: int, weights: tuple[float, ...], outcomes: tuple[float, ...], tau_s: float, magnitude: int
) -> None:
    """Also where they are not those of any data."""
    rng = np.random.default_rng(seed)
    policy = HierarchicalThompson(BLOCKS, tau_s=tau_s)
    contexts = [X, -X, np.zeros(DIMENSION), np.full(DIMENSION, 10.0**magnitude), context(rng)]
    for _ in range(200):
        x, y = contexts[rng.integers(5)], float(rng.choice(outcomes))
        policy.learn(
            ARMS[rng.integers(4)], x, y, weight=float(rng.choice(weights)), time_s=float(rng.integers(9) - 4e8)
        )
    with np.errstate(all="raise", under="ignore"):
        policy.refresh()
        answer = policy.distribution(X, MENU)
    assert np.isfinite([answer.probability, answer.mean, answer.width]).all()
    assert answer.probability.sum() == pytest.approx(1.0)
    assert answer.probability.min() >= policy.floor / 4 * (1 - 1e-9)


def test_beliefs_can_be_read_and_taught_while_another_thread_refreshes_them() -> None:
    policy = taught(LEARNERS["hierarchical"], stream(0, 50))
    done = threading.Event()

    def refreshing() -> None:
        for _ in range(300):
            policy.refresh()
        done.set()

    thread = threading.Thread(target=refreshing)
    thread.start()
    deadline = time.monotonic() + 5.0
    for t, o in enumerate(itertools.cycle(stream(1, 300))):
        if done.is_set() or time.monotonic() > deadline:
            break
        policy.learn(f"arm {t % 50}", o.x, o.y)
        assert policy.distribution(X, MENU).probability.sum() == pytest.approx(1.0)
    thread.join()
    assert done.is_set()
