"""Sums of observations add up, subtract and forget, in whatever order they came."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.bandits.statistics import Sums
from tests.unit.bandits.strategies import DIMENSION, Seen, lengths, seeds, stream

taus = st.sampled_from([math.inf, 3600.0, 60.0, 1.0])


def folded(seen: list[Seen], tau_s: float) -> Sums:
    sums = Sums(DIMENSION, tau_s)
    for o in seen:
        sums.add(o.x, o.y, weight=o.weight, time_s=o.time_s)
    return sums


def assert_equal_at(one: Sums, other: Sums, time_s: float, scale: float = 1.0) -> None:
    """Equal up to rounding when both are aged to one time."""
    for sums in (one, other):
        sums.move_landmark(time_s)
    np.testing.assert_allclose(one.A, other.A, atol=1e-9 * scale, rtol=1e-9)
    np.testing.assert_allclose(one.b, other.b, atol=1e-9 * scale, rtol=1e-9)
    np.testing.assert_allclose(one.moments, other.moments, atol=1e-9 * scale, rtol=1e-9)


@given(seeds, lengths, taus)
def test_the_order_of_observations_does_not_matter(seed: int, n: int, tau_s: float) -> None:
    seen = stream(seed, n)
    shuffled = [seen[i] for i in np.random.default_rng(seed).permutation(n)]
    assert_equal_at(folded(seen, tau_s), folded(shuffled, tau_s), 60.0 * n)


@given(seeds, lengths, taus)
def test_what_two_processes_saw_adds_up_to_what_one_would_have_seen(seed: int, n: int, tau_s: float) -> None:
    seen = stream(seed, n)
    merged = folded(seen[::2], tau_s)
    merged.merge(folded(seen[1::2], tau_s))
    assert_equal_at(merged, folded(seen, tau_s), 60.0 * n)


@given(seeds, lengths, taus)
def test_an_observation_retracted_leaves_no_trace(seed: int, n: int, tau_s: float) -> None:
    seen = stream(seed, n + 1)
    with_it = folded(seen, tau_s)
    o = seen[n // 2]
    with_it.add(o.x, o.y, weight=-o.weight, time_s=o.time_s)
    assert_equal_at(with_it, folded(seen[: n // 2] + seen[n // 2 + 1 :], tau_s), 60.0 * n)


@given(seeds, lengths, taus)
def test_packed_sums_do_not_tell_the_order(seed: int, n: int, tau_s: float) -> None:
    """The landmark is a function of what was seen, too, and no weight grows beyond the observation's own."""
    seen = stream(seed, n)
    one, other = folded(seen, tau_s), folded(seen[::-1], tau_s)
    np.testing.assert_allclose(one.pack(), other.pack(), rtol=1e-9, atol=1e-9)
    assert one.n <= sum(o.weight for o in seen) + 1e-9


def test_an_observation_loses_a_share_one_over_e_of_its_weight_in_tau() -> None:
    sums = folded([Seen("a", np.ones(DIMENSION), 1.0, 1.0, 0.0)], 60.0)
    sums.move_landmark(60.0)
    assert sums.n == pytest.approx(math.exp(-1))


def test_a_century_between_two_observations_overflows_nothing() -> None:
    sums = folded([Seen("a", np.ones(DIMENSION), 1.0, 1.0, t) for t in (0.0, 3e9, -3e9, 6e9)], 1.0)
    assert sums.n == pytest.approx(1.0)
    assert np.isfinite(sums.pack()).all()


@given(seeds, lengths, taus)
def test_packed_sums_unpack_to_themselves(seed: int, n: int, tau_s: float) -> None:
    packed = folded(stream(seed, n), tau_s).pack()
    np.testing.assert_array_equal(Sums.unpack(packed, DIMENSION, tau_s=tau_s).pack(), packed)


@pytest.mark.parametrize(
    "packed", [np.zeros(3), np.full(DIMENSION * (DIMENSION + 3) // 2 + 4, np.nan), np.zeros((2, 2))]
)
def test_what_cannot_be_packed_sums_is_refused(packed: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        Sums.unpack(packed, DIMENSION)


GOOD, SHORT, BROKEN = np.ones(DIMENSION), np.ones(2), np.full(DIMENSION, np.nan)


@pytest.mark.parametrize(
    ("x", "y", "weight"), [(SHORT, 0.5, 1.0), (BROKEN, 0.5, 1.0), (GOOD, math.nan, 1.0), (GOOD, 0.5, math.inf)]
)
def test_an_observation_of_wrong_shape_or_not_finite_is_refused_and_changes_nothing(
    x: np.ndarray, y: float, weight: float
) -> None:
    sums = Sums(DIMENSION)
    with pytest.raises(ValueError, match="finite"):
        sums.add(x, y, weight=weight)
    assert not sums.pack().any()


def test_sums_of_different_shape_do_not_merge() -> None:
    with pytest.raises(ValueError, match="add up"):
        Sums(2).merge(Sums(3))


def test_memory_does_not_grow_with_observations() -> None:
    assert folded(stream(0, 5), math.inf).pack().nbytes == folded(stream(0, 50), math.inf).pack().nbytes
