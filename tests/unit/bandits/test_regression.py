"""Beliefs are the exact posterior of the hierarchical model, and narrow as data come in."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.bandits.gaussian import Given, Solution, inverse, solve
from conduit.bandits.regression import HierarchicalRegression
from conduit.bandits.retraction import explained
from conduit.bandits.shrinkage import Hyperprior
from conduit.bandits.statistics import time_constant
from tests.unit.bandits.strategies import ARMS, BLOCKS, DIMENSION, Seen, context, lengths, seeds, stream

taus = st.sampled_from([math.inf, 3600.0, 600.0])


def learned(seen: list[Seen], tau_s: float = math.inf) -> HierarchicalRegression:
    regression = HierarchicalRegression(BLOCKS, tau_s=tau_s)
    for o in seen:
        regression.add(o.arm, o.x, o.y, weight=o.weight, time_s=o.time_s)
    regression.refresh()
    return regression


@given(seeds)
@settings(max_examples=20)
def test_the_posterior_is_that_of_one_joint_gaussian(seed: int) -> None:
    """Conditioning the stacked prior of (theta_1 .. theta_k) on all data at once gives the same mean and covariance."""
    rng = np.random.default_rng(seed)
    k, d = 3, 4
    T, T_mu, m0 = rng.uniform(0.1, 1, d), rng.uniform(0.1, 1, (2, d)), rng.normal(size=(2, d))
    Z = np.column_stack([np.ones(k), rng.normal(size=k)])
    X, y = rng.normal(size=(k, 5, d)), rng.normal(size=(k, 5))
    solution = solve(Given(np.einsum("kni,knj->kij", X, X), np.einsum("kn,kni->ki", y, X), Z, T, T_mu, m0))
    prior = np.kron(np.eye(k), np.diag(T)) + sum(
        np.kron(np.outer(Z[:, j], Z[:, j]), np.diag(T_mu[j])) for j in range(2)
    )
    expected = (Z @ m0).ravel()
    H = np.zeros((k * 5, k * d))
    for a in range(k):
        H[a * 5 : a * 5 + 5, a * d : a * d + d] = X[a]
    gain = prior @ H.T @ np.linalg.inv(H @ prior @ H.T + np.eye(k * 5))
    mean = expected + gain @ (y.ravel() - H @ expected)
    covariance = prior - gain @ H @ prior
    np.testing.assert_allclose(solution.theta.ravel(), mean, atol=1e-8)
    x = rng.normal(size=d)
    joint = solution.covariance(x, [0, 1, 2])
    np.testing.assert_allclose(joint, np.einsum("aibj,i,j->ab", covariance.reshape(k, d, k, d), x, x), atol=1e-8)


@given(seeds, st.integers(1, 30))
def test_what_data_say_is_left_as_it_is(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(3, n, 4)), rng.normal(size=(3, n))
    b = np.einsum("kn,kni->ki", y, X)
    np.testing.assert_array_equal(explained(np.einsum("kni,knj->kij", X, X), b, (y**2).sum(axis=1)), b)


@given(seeds, st.floats(-10, 10))
def test_what_no_data_could_say_explains_no_more_than_there_is(seed: int, wyy: float) -> None:
    rng = np.random.default_rng(seed)
    X, b = rng.normal(size=(3, 12, 4)), 100.0 * rng.normal(size=(3, 4))  # far from singular
    A = np.einsum("kni,knj->kij", X, X)
    less = explained(A, b, np.full(3, wyy))
    share = (less * np.linalg.solve(A, less[:, :, None])[:, :, 0]).sum(axis=1)
    assert (share <= max(wyy, 0.0) * (1 + 1e-3) + 1e-4).all()
    assert ((less * b).sum(axis=1) >= 0.0).all()
    assert less.any() == (wyy > 0)


def test_no_variance_is_below_nothing() -> None:
    one = np.ones((1, 1))
    assert Solution(-1e-6 * np.ones((1, 1, 1)), one, one, 0.0 * one, one, np.ones(1)).covariance(np.ones(1), [0]) == 0.0


def test_where_rounding_has_won_an_inverse_is_at_most_that_of_the_identity() -> None:
    N = inverse(np.array([np.diag([1e-9, 4.0]), np.diag([-1.0, 1.0]), np.zeros((2, 2))]))
    np.testing.assert_array_equal(N, [np.diag([1.0, 0.25]), np.eye(2), np.eye(2)])


@given(seeds, lengths, taus)
@settings(max_examples=30)
def test_the_order_of_observations_does_not_matter(seed: int, n: int, tau_s: float) -> None:
    seen, x = stream(seed, n), context(np.random.default_rng(seed))
    shuffled = [seen[i] for i in np.random.default_rng(seed).permutation(n)]
    one, other = learned(seen, tau_s).predict(x, ARMS), learned(shuffled, tau_s).predict(x, ARMS)
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_an_observation_counts_half_after_a_half_life() -> None:
    """Wherever time begins: of an arm seen long ago, and of one that nobody sees any more."""
    half_life_s, since_s = 86400.0, 1.8e9
    x = np.append(np.zeros(DIMENSION - 1), 1.0)
    old = [Seen(arm, x, 0.0, 64.0, since_s) for arm in ("ant", "bee")]
    forgetful = learned([*old, Seen("ant", x, 1.0, 64.0, since_s + half_life_s)], time_constant(half_life_s))
    halved = [Seen(o.arm, o.x, o.y, o.weight / 2, 0.0) for o in old]
    by_hand = learned([*halved, Seen("ant", x, 1.0, 64.0, 0.0)])
    np.testing.assert_allclose(forgetful.predict(x, ARMS), by_hand.predict(x, ARMS), rtol=1e-9)


def test_without_a_half_life_nothing_is_forgotten() -> None:
    assert time_constant(0.0) == math.inf
    assert time_constant(math.log(2)) == pytest.approx(1.0)


def test_more_data_narrow_the_width() -> None:
    x = context(np.random.default_rng(1))
    widths = [learned(stream(3, n)).predict(x, ARMS)[1].max() for n in (0, 40, 400, 4000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.2 * widths[0]


def test_an_arm_never_seen_is_expected_to_be_like_the_others_but_with_more_doubt() -> None:
    seen = [Seen(o.arm, o.x, 0.9, 1.0, 0.0) for o in stream(5, 400)]
    mean, width = learned(seen).predict(context(np.random.default_rng(1)), [*ARMS, "new"])
    assert mean[-1] == pytest.approx(0.9, abs=0.05)
    assert width[-1] > 2 * width[:-1].max()


def test_an_arm_never_seen_is_expected_to_be_as_its_attribute_says() -> None:
    """Where quality rises with the attribute among the arms that were seen, it is so expected of one that was not."""
    attribute = {"ant": -1.0, "bee": 0.0, "cow": 1.0, "new": 2.0}
    regression = HierarchicalRegression(BLOCKS, attribute=attribute, hyperprior=Hyperprior(slope_spread=1.0))
    rng = np.random.default_rng(0)
    for arm in ("ant", "bee", "cow") * 100:
        regression.add(arm, context(rng), 0.5 + 0.1 * attribute[arm])
    regression.refresh()
    mean, _ = regression.predict(context(rng), ["cow", "new", "unheard of"])
    assert mean[1] > mean[0] + 0.05
    assert mean[2] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("n", [20, 200, 2000])
def test_one_arm_says_little_of_another(n: int) -> None:
    """How far arms differ is not seen from one of them: the doubt about a second stays at least that of the prior."""
    regression, x = HierarchicalRegression(BLOCKS), np.append(np.zeros(DIMENSION - 1), 1.0)
    for o in stream(0, n):
        regression.add("ant", o.x, 0.1)
    regression.refresh()
    prior = Hyperprior()
    assert regression.predict(x, ["new"])[1][0] >= prior.own_level * prior.scale


def test_an_attribute_learned_later_counts_from_the_next_refresh_on() -> None:
    attribute = {"ant": 0.0}
    regression = HierarchicalRegression(BLOCKS, attribute=attribute, hyperprior=Hyperprior(slope=0.1))
    x = context(np.random.default_rng(0))
    before = regression.mean(x, ["new"])
    attribute["new"] = 1.0
    regression.refresh()
    assert regression.mean(x, ["new"])[0] == pytest.approx(before[0] + 0.1)


def test_an_attribute_that_is_not_a_number_is_refused_and_the_beliefs_stay() -> None:
    attribute = {"ant": 0.0}
    regression = HierarchicalRegression(BLOCKS, attribute=attribute)
    attribute["ant"] = float("-inf")
    with pytest.raises(ValueError, match="finite"):
        regression.refresh()
    assert np.isfinite(regression.predict(context(np.random.default_rng(0)), ["ant"])).all()


def test_what_is_predicted_is_what_was_seen() -> None:
    """With 4000 observations of noise .2, predictions are within .05 of the truth."""
    seen = stream(7, 4000)
    regression = learned(seen)
    rng = np.random.default_rng(7)
    theta = rng.normal(size=(len(ARMS), DIMENSION)) * 0.2
    x = context(np.random.default_rng(0)) * np.append(np.full(DIMENSION - 1, 0.5), 1.0)
    np.testing.assert_allclose(regression.predict(x, ARMS)[0], 0.5 + theta @ x, atol=0.08)


def test_features_that_say_nothing_are_shrunk_away() -> None:
    """The variance of a block that carries signal ends five times above that of one that carries none."""
    rng = np.random.default_rng(0)
    regression = HierarchicalRegression(BLOCKS)
    effects = {"ant": np.array([0.5, -0.5, 0.5]), "bee": np.array([-0.5, 0.5, 0.5])}
    for t in range(2000):
        x, arm = context(rng), ("ant", "bee")[t % 2]
        regression.add(arm, x, float(0.5 + effects[arm] @ x[:3] + 0.1 * rng.normal()))
    regression.refresh()
    T = regression.spread.T
    assert T[0] > 5 * T[3]


def test_the_same_observations_give_the_same_floats() -> None:
    x = context(np.random.default_rng(0))
    one, other = (learned(stream(11, 200)).predict(x, ARMS) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_restored_state_gives_the_same_beliefs() -> None:
    one, other = learned(stream(2, 100)), HierarchicalRegression(BLOCKS)
    other.restore(one.state())
    other.refresh()
    x = context(np.random.default_rng(0))
    np.testing.assert_array_equal(one.predict(x, ARMS), other.predict(x, ARMS))


def test_a_state_that_does_not_fit_is_refused_and_the_beliefs_stay() -> None:
    regression = learned(stream(2, 100))
    before = regression.state()
    with pytest.raises(ValueError, match="finite numbers"):
        regression.restore({"ant": before["ant"], "bee": np.zeros(3)})
    np.testing.assert_array_equal(regression.state()["bee"], before["bee"])


def test_the_intercept_must_come_last() -> None:
    with pytest.raises(ValueError, match="intercept"):
        HierarchicalRegression((1, 3))
