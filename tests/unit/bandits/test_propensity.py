"""Propensities are the probabilities with which a sampler would have chosen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.bandits.propensity import best_probability, with_floor

numbers = st.floats(-1e3, 1e3)
widths = st.floats(0.0, 1e3)
gaussians = st.lists(st.tuples(numbers, widths), min_size=1, max_size=12)


@given(gaussians)
def test_probabilities_are_nonnegative_and_sum_to_one(arms: list[tuple[float, float]]) -> None:
    u, s = np.array(arms).T
    pi = best_probability(u, s)
    assert (pi >= 0).all()
    assert pi.sum() == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(-1e100, 1e100), st.floats(0.0, 1e100)), min_size=1, max_size=12))
def test_probabilities_sum_to_one_at_any_scale(arms: list[tuple[float, float]]) -> None:
    with np.errstate(all="raise", under="ignore"):
        pi = best_probability(*np.array(arms).T)
    assert (pi >= 0).all()
    assert pi.sum() == pytest.approx(1.0)


@given(gaussians, st.randoms(use_true_random=False))
def test_permuting_the_arms_permutes_the_probabilities(arms: list[tuple[float, float]], random: object) -> None:
    u, s = np.array(arms).T
    order = np.random.default_rng(len(arms)).permutation(len(arms))
    np.testing.assert_allclose(best_probability(u[order], s[order]), best_probability(u, s)[order], atol=1e-9)


@given(numbers, st.floats(1e-3, 1e3), numbers, st.floats(1e-3, 1e3))
def test_of_two_arms_the_probability_is_that_of_a_positive_difference(
    u0: float, s0: float, u1: float, s1: float
) -> None:
    exact = 0.5 * math.erfc(-(u0 - u1) / math.sqrt(2 * (s0**2 + s1**2)))
    assert best_probability(np.array([u0, u1]), np.array([s0, s1]))[0] == pytest.approx(exact, abs=3e-3)


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_agree_with_sampling_also_where_widths_differ_a_thousandfold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    u, s = rng.normal(size=8), 10.0 ** rng.uniform(-3, 0, size=8)
    sampled = np.bincount((u + s * rng.normal(size=(100_000, 8))).argmax(axis=1), minlength=8) / 100_000
    np.testing.assert_allclose(best_probability(u, s), sampled, atol=6e-3)


def test_equal_arms_are_equally_likely() -> None:
    np.testing.assert_allclose(best_probability(np.zeros(5), np.ones(5)), 0.2, atol=1e-9)


def test_without_width_the_best_arm_is_certain() -> None:
    np.testing.assert_allclose(best_probability(np.array([0.1, 0.7, 0.3]), np.zeros(3)), [0, 1, 0], atol=1e-12)


@given(gaussians, st.floats(0, 1))
def test_with_a_floor_no_arm_has_less_than_its_share_of_it(arms: list[tuple[float, float]], eps: float) -> None:
    pi = with_floor(best_probability(*np.array(arms).T), eps)
    assert (pi >= eps / len(arms) * (1 - 1e-12)).all()
    assert pi.sum() == pytest.approx(1.0)
