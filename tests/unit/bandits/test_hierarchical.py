"""The default policy explores what is undecided between arms, not what is unknown of all of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conduit.bandits.hierarchical import HierarchicalThompson
from conduit.bandits.policy import Menu
from conduit.bandits.propensity import own_variance
from tests.unit.bandits.strategies import ARMS, BLOCKS, context


@given(st.lists(st.floats(0.01, 10), min_size=3, max_size=8), st.floats(0, 100))
def test_a_shared_error_adds_no_width(variances: list[float], shared: float) -> None:
    np.testing.assert_allclose(
        own_variance(np.diag(variances) + shared), np.maximum(variances, 0.01 * np.mean(variances)), rtol=1e-6
    )


def test_of_two_arms_the_width_of_their_difference_is_kept() -> None:
    assert own_variance(np.array([[3.0, 1.0], [1.0, 2.0]])).sum() == 3.0


def test_widths_that_rounding_has_made_of_nothing_are_none() -> None:
    assert (own_variance(np.array([[0.0, 1.0], [1.0, 0.0]])) >= 0.0).all()


def test_before_anything_is_seen_arms_of_equal_penalty_are_equally_likely() -> None:
    pi = (
        HierarchicalThompson(BLOCKS)
        .distribution(context(np.random.default_rng(0)), Menu(ARMS, np.zeros(4)))
        .probability
    )
    np.testing.assert_allclose(pi, 0.25, atol=1e-9)


def test_the_choice_follows_the_context() -> None:
    """Where one feature decides which of two arms is good, each is chosen there, nine times in ten."""
    rng = np.random.default_rng(0)
    policy = HierarchicalThompson(BLOCKS)
    for t in range(400):
        x = context(rng)
        x[0] = 1.0 if rng.random() < 0.5 else -1.0
        arm, sign = (("ant", 1.0), ("bee", -1.0))[t % 2]
        policy.learn(arm, x, 0.5 + 0.3 * sign * x[0])
    policy.refresh()
    menu = Menu(["ant", "bee"], np.zeros(2))
    for side, best in ((1.0, 0), (-1.0, 1)):
        assert policy.distribution(np.array([side, 0, 0, 0, 0, 1.0]), menu).probability[best] > 0.9
