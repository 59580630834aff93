"""A change is noticed, whatever the order in which it was read; calm streams raise no alarm; the old level is gone."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.bandits.drift import RESERVE, SIZE, Latest, Past, Window, change
from conduit.bandits.hierarchical import HierarchicalThompson
from conduit.bandits.policy import Change
from conduit.bandits.regression import HierarchicalRegression
from tests.unit.bandits.strategies import ARMS, BLOCKS, DIMENSION, Seen, context, seeds, stream

X = np.append(np.zeros(DIMENSION - 1), 1.0)


def told(seed: int, n: int, after: int, *, shift: float = -0.35, noise: float = 0.3) -> list[Seen]:
    """Every arm n times, the ant worse by `shift` in its last `after`."""
    rng = np.random.default_rng(seed)
    seen = []
    for t in range(n * len(ARMS)):
        arm = ARMS[t % len(ARMS)]
        moved = shift if arm == "ant" and t >= (n - after) * len(ARMS) else 0.0
        seen.append(Seen(arm, context(rng), 0.7 + moved + noise * rng.normal(), 1.0, 60.0 * t))
    return seen


def learned(seen: list[Seen], **options: float) -> HierarchicalRegression:
    regression = HierarchicalRegression(BLOCKS, **options)
    for o in seen:
        regression.add(o.arm, o.x, o.y, weight=o.weight, time_s=o.time_s)
    regression.refresh()
    return regression


def close(one: Change, other: Change) -> bool:
    return np.allclose([one.since_s, one.shift, one.z, one.n], [other.since_s, other.shift, other.z, other.n])


@pytest.mark.parametrize("seed", range(5))
def test_a_halved_quality_is_noticed_within_sixty_answers_and_only_there(seed: int) -> None:
    assert learned(told(seed, 400, 0)).changes == {}
    found = learned(told(seed, 400, 60)).changes
    assert set(found) == {"ant"}
    assert found["ant"].shift == pytest.approx(-0.35, abs=0.2)
    assert found["ant"].z < -5
    assert abs(found["ant"].since_s - 60.0 * 340 * len(ARMS)) < 60.0 * 25 * len(ARMS)


@pytest.mark.parametrize("seed", range(5))
def test_of_who_has_changed_the_new_level_is_believed_and_of_the_others_what_was(seed: int) -> None:
    seen = told(seed, 400, 80)
    watching, blind = learned(seen), learned(seen, threshold=math.inf)
    mean, blind_mean = watching.mean(X, ARMS), blind.mean(X, ARMS)
    assert abs(mean[0] - 0.35) < 0.15 < abs(blind_mean[0] - 0.35)
    np.testing.assert_allclose(mean[1:], blind_mean[1:], atol=0.05)
    assert watching.predict(X, ["ant"])[1] > 1.5 * blind.predict(X, ["ant"])[1]


def test_slopes_outlive_a_change_of_level() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for t in range(600):
        x = context(rng)
        seen.append(Seen("ant", x, 0.5 + 0.4 * x[0] - 0.5 * (t >= 560) + 0.1 * rng.normal(), 1.0, float(t)))
    regression = learned(seen)
    assert set(regression.changes) == {"ant"}
    steep = X.copy()
    steep[0] = 1.0
    assert regression.mean(steep, ["ant"])[0] - regression.mean(X, ["ant"])[0] == pytest.approx(0.4, abs=0.05)
    assert regression.mean(X, ["ant"])[0] == pytest.approx(0.0, abs=0.05)


@given(seeds)
@settings(max_examples=10)
def test_what_is_noticed_does_not_depend_on_the_order_of_reading(seed: int) -> None:
    seen = told(seed, 200, 40, noise=0.2)
    shuffled = [seen[i] for i in np.random.default_rng(seed).permutation(len(seen))]
    one, other = learned(seen, tau_s=1e5), learned(shuffled, tau_s=1e5)
    assert set(one.changes) == set(other.changes) == {"ant"}
    assert close(one.changes["ant"], other.changes["ant"])
    np.testing.assert_allclose(one.predict(X, ARMS), other.predict(X, ARMS), rtol=1e-6)


@given(seeds)
@settings(max_examples=10)
def test_what_is_retracted_was_never_a_change(seed: int) -> None:
    seen = told(seed, 200, 40, noise=0.2)
    worse = [o for o in seen if o.arm == "ant"][-40:]
    back = [replace(o, weight=-o.weight) for o in worse]
    assert learned(seen + back).changes == {}


def test_equal_outcomes_are_no_change_and_a_new_outcome_is_one() -> None:
    same = [replace(o, x=X, y=0.5) for o in told(0, 100, 0)]
    assert learned(same).changes == {}
    assert set(learned([*same, *(Seen("ant", X, 0.9, 1.0, 1e6 + t) for t in range(20))]).changes) == {"ant"}


def test_past_without_spread_is_compared_without_dividing_by_nothing() -> None:
    past = Past(np.array([[40.0]]), np.array([20.0]), np.array([40.0, 20.0, 10.0]))
    latest = Latest(np.arange(40.0), np.ones(40), np.full(40, 0.5), np.ones((40, 1)))
    assert change(past, latest, np.array([0.5]), 0.0) is None


def test_observations_of_one_moment_have_no_before_and_after() -> None:
    assert learned([replace(o, time_s=5.0) for o in told(0, 400, 60)]).changes == {}


@given(seeds)
@settings(max_examples=10)
def test_a_restored_state_notices_the_same(seed: int) -> None:
    one, other = learned(told(seed, 200, 40)), HierarchicalRegression(BLOCKS)
    other.restore(one.state())
    other.refresh()
    assert other.changes == one.changes
    more = told(seed + 1, 20, 0)
    for regression in (one, other):
        for o in more:
            regression.add(o.arm, o.x, o.y, time_s=o.time_s + 1e6)
        regression.refresh()
    np.testing.assert_array_equal(one.predict(X, ARMS), other.predict(X, ARMS))


@given(seeds)
@settings(max_examples=10)
def test_a_change_from_before_a_poisoning_is_found_again_once_that_is_retracted(seed: int) -> None:
    """In whatever order all is read, though the poisoning was longer than a window."""
    rng = np.random.default_rng(seed)
    seen, context_of = told(seed, 200, 40, noise=0.2), rng.integers(1 << 30)
    poison = [Seen("ant", o.x, 1.0, 1.0, 1e6 + o.time_s) for o in stream(int(context_of), 2 * SIZE)]
    everything = [*seen, *poison, *(replace(o, weight=-o.weight) for o in poison)]
    clean = learned(seen)
    assert set(clean.changes) == {"ant"}
    for order in (range(len(everything)), rng.permutation(len(everything))):
        regression = learned([everything[i] for i in order])
        assert set(regression.changes) == {"ant"}
        assert close(regression.changes["ant"], clean.changes["ant"])
        np.testing.assert_allclose(regression.predict(X, ARMS), clean.predict(X, ARMS), rtol=1e-6)


def windowed(seen: list[Seen], order: Iterable[int], window: Window | None = None) -> Window:
    window = window or Window(DIMENSION, 10, 40)
    for i in order:
        o = seen[i]
        window.add(o.x, o.y, weight=o.weight, time_s=o.time_s)
    return window


def revised(seed: int, n: int, wrong: int) -> tuple[list[Seen], list[Seen]]:
    """Observations of few moments, and the same among what is retracted: `wrong` others, and for every fifth of these
    another outcome of one that stays."""
    rng = np.random.default_rng(seed)
    true = [replace(o, time_s=float(rng.integers(50))) for o in stream(seed, n)]
    others = [replace(o, time_s=float(rng.integers(60))) for o in stream(seed + 1, wrong)]
    others += [replace(o, y=1.0 - o.y) for o in true[: wrong // 5]]
    return true, [*true, *others, *(replace(o, weight=-o.weight) for o in others)]


@given(seeds, st.integers(0, 120), st.integers(0, 30))
def test_a_window_is_the_latest_that_was_not_retracted_whatever_the_order(seed: int, n: int, wrong: int) -> None:
    true, everything = revised(seed, n, wrong)
    expected = windowed(true, range(n)).latest()
    assert len(expected) == min(n, 10)
    for order in (range(len(everything)), np.random.default_rng(seed).permutation(len(everything))):
        np.testing.assert_allclose(windowed(everything, order).latest(), expected, atol=1e-12)


@given(seeds, st.integers(0, 120), st.integers(30, 120))
def test_beyond_its_reserve_a_window_may_be_shorter_and_never_another(seed: int, n: int, wrong: int) -> None:
    true, everything = revised(seed, n, wrong)
    expected = windowed(true, range(n)).latest()
    got = windowed(everything, np.random.default_rng(seed).permutation(len(everything))).latest()
    np.testing.assert_allclose(got, expected[len(expected) - len(got) :], atol=1e-12)


@given(seeds, st.integers(0, 120), st.integers(0, 120))
def test_a_window_restored_goes_on_as_the_one_that_was_saved(seed: int, n: int, wrong: int) -> None:
    _, everything = revised(seed, n, wrong)
    order = np.random.default_rng(seed).permutation(len(everything))
    at = len(order) * seed // 2**32
    one = windowed(everything, order[:at])
    other = Window.of(one.rows(), DIMENSION, 10, 40)
    for window in (one, other):
        windowed(everything, order[at:], window)
    np.testing.assert_array_equal(one.latest(), other.latest())
    np.testing.assert_array_equal(one.rows(), other.rows())


@pytest.mark.parametrize("rows", [np.zeros(DIMENSION + 2), np.full(DIMENSION + 3, np.nan)])
def test_what_cannot_be_a_window_is_refused(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        Window.of(rows, DIMENSION)


def test_rows_out_of_order_or_too_many_are_refused() -> None:
    row = np.append([1.0, 1.0, 0.5], X)
    with pytest.raises(ValueError, match="order"):
        Window.of(np.array([row + np.eye(len(row))[0], row]), DIMENSION)
    with pytest.raises(ValueError, match="at most"):
        Window.of(row + np.outer(np.arange(RESERVE + 1), np.eye(len(row))[0]), DIMENSION)


def test_memory_does_not_grow_with_observations() -> None:
    sizes = []
    for n in (RESERVE + 1, 2 * RESERVE):
        policy = HierarchicalThompson(BLOCKS)
        for t in range(n):
            policy.learn("ant", X, 0.5, time_s=float(t))
        sizes.append(policy.state()["ant"].nbytes)
    assert sizes[0] == sizes[1]
