"""What its paper says of each baseline."""

import numpy as np
import pytest

from conduit.bandits.dueling import Dueling
from conduit.bandits.epsilon_greedy import EpsilonGreedy
from conduit.bandits.extremes import AlwaysBest, AlwaysCheapest
from conduit.bandits.hybrid import Hybrid
from conduit.bandits.knn import NearestNeighbours
from conduit.bandits.linear_thompson import LinearThompson
from conduit.bandits.linucb import LinUCB
from conduit.bandits.paced_linucb import DualAscent, PacedLinUCB
from conduit.bandits.pacing import Pacer
from conduit.bandits.policy import Menu, Policy
from conduit.bandits.ucb1 import UCB1
from conduit.routing.policies import make_pacer

X = np.array([0.0, 1.0])
FREE = Menu(["a", "b", "c"], np.zeros(3))


def teach(policy: Policy, **qualities: list[float]) -> None:
    for arm, ys in qualities.items():
        for y in ys:
            policy.learn(arm, X, y)
    policy.refresh()


def pi(policy: Policy, menu: Menu = FREE, x: np.ndarray = X) -> list[float]:
    return policy.distribution(x, menu).probability.tolist()


def test_ucb1_plays_each_arm_once_whatever_it_costs() -> None:
    policy = UCB1()
    assert pi(policy) == pytest.approx([1 / 3] * 3)
    teach(policy, a=[1.0])
    assert pi(policy, Menu(FREE.arms, np.array([0.0, 9.0, 99.0]))) == [0, 0.5, 0.5]


def test_ucb1_prefers_the_less_played_of_two_equal_arms() -> None:
    policy = UCB1()
    teach(policy, a=[0.5] * 20, b=[0.5] * 5, c=[0.0] * 20)
    assert pi(policy) == [0, 1, 0]


def test_epsilon_greedy_gives_the_best_all_but_epsilon() -> None:
    policy = EpsilonGreedy(epsilon=0.3)
    teach(policy, a=[0.2], b=[0.9], c=[0.5])
    assert pi(policy) == pytest.approx([0.1, 0.8, 0.1])
    with pytest.raises(ValueError, match="probability"):
        EpsilonGreedy(epsilon=1.5)


def test_the_extremes_look_at_one_thing_each() -> None:
    best, cheapest = AlwaysBest(), AlwaysCheapest()
    for policy in (best, cheapest):
        teach(policy, a=[0.2], b=[0.9], c=[0.5])
    menu = Menu(FREE.arms, np.array([0.1, 5.0, 0.2]))
    assert pi(best, menu) == [0, 1, 0]
    assert pi(cheapest, menu) == [1, 0, 0]
    assert pi(cheapest) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("make", [LinUCB, LinearThompson, PacedLinUCB, NearestNeighbours])
def test_with_contexts_the_better_arm_here_is_not_the_better_arm_there(make: type) -> None:
    rng, policy = np.random.default_rng(0), make(2)
    for _ in range(200):
        side = float(rng.choice([-1.0, 1.0]))
        for arm, sign in (("a", 1.0), ("b", -1.0)):
            policy.learn(arm, np.array([side, 1.0]), 0.5 + 0.3 * sign * side)
    policy.refresh()
    menu = Menu(["a", "b"], np.zeros(2))
    assert pi(policy, menu, np.array([1.0, 1.0]))[0] > 0.9
    assert pi(policy, menu, np.array([-1.0, 1.0]))[1] > 0.9


def test_an_arm_unseen_by_linucb_is_as_wide_as_its_context_is_long() -> None:
    mean, width = LinUCB(2).ridge.predict(np.array([3.0, 4.0]), ["a"])
    assert (mean[0], width[0]) == (0.0, 5.0)


def test_linucbs_inverse_stays_the_inverse_and_more_data_narrow_the_width() -> None:
    rng, policy, widths = np.random.default_rng(0), LinUCB(3), []
    x, A = rng.normal(size=3), np.eye(3)
    for _ in range(50):
        z = rng.normal(size=3)
        A += np.outer(z, z)
        policy.learn("a", z, 0.5)
        policy.refresh()
        widths.append(float(policy.ridge.predict(x, ["a"])[1][0]))
        assert widths[-1] ** 2 == pytest.approx(x @ np.linalg.solve(A, x))
    assert widths == sorted(widths, reverse=True)


def test_a_hybrid_is_the_first_until_the_switch_and_then_the_other() -> None:
    policy = Hybrid(AlwaysBest(), AlwaysCheapest(), switch=3)
    menu = Menu(FREE.arms, np.array([0.0, 1.0, 1.0]))
    teach(policy, b=[1.0], c=[0.0])
    assert pi(policy, menu)[0] == 0.5  # a was not seen, b may be as good
    policy.learn("a", X, 0.0)
    assert pi(policy, menu) == [1, 0, 0]
    policy.learn("a", X, 0.0, weight=-1.0)
    assert pi(policy, menu)[0] == 0.5
    with pytest.raises(ValueError, match="finite"):
        policy.restore({name: sums for name, sums in policy.state().items() if name != "count"})


def test_dueling_learns_from_comparisons_alone() -> None:
    """Of twenty duels each, b beat a and c beat b: c is best, though a and c never met."""
    policy = Dueling()
    for _ in range(20):
        policy.compare("b", "a")
        policy.compare("c", "b")
    mean = policy.distribution(X, FREE).mean
    assert mean[0] < mean[1] < mean[2]
    assert pi(policy)[2] > 0.9


def test_a_draw_moves_nobody_and_a_comparison_is_taken_back() -> None:
    policy, fresh = Dueling(), Dueling()
    policy.compare("a", "b", preference=0.0)
    np.testing.assert_allclose(policy.distribution(X, FREE).mean, 0.5)
    policy.compare("a", "b", preference=0.0, weight=-1.0)
    policy.compare("c", "b", weight=2.0)
    policy.compare("c", "b", weight=-2.0)
    np.testing.assert_allclose(pi(policy), pi(fresh), atol=1e-9)


def test_comparisons_survive_a_restart_whatever_the_arms_are_called() -> None:
    policy, restored = Dueling(), Dueling()
    policy.compare('["a"]', "b, c")
    policy.compare("b, c", "b, c")
    policy.learn("b, c", X, 0.1)
    restored.restore(policy.state())
    menu = Menu(['["a"]', "b, c"], np.zeros(2))
    assert pi(restored, menu) == pi(policy, menu)
    assert pi(restored, menu)[0] > 0.6


def test_ratings_and_duels_of_the_same_strength_agree() -> None:
    rated, duelled = Dueling(), Dueling()
    for _ in range(400):
        rated.learn("a", X, 0.8)
        rated.learn("b", X, 0.4)
        duelled.compare("a", "b", preference=0.4)
    gaps = [np.diff(p.distribution(X, Menu(["b", "a"], np.zeros(2))).mean)[0] for p in (rated, duelled)]
    assert gaps == pytest.approx([0.4, 0.4], abs=0.01)


def test_paced_linucb_forgets_by_the_time_of_the_decision() -> None:
    """What is ten half-lives old weighs a thousandth; an arm not seen since is nearly as wide as a new one."""
    policy = PacedLinUCB(2, tau_s=100.0)
    for t in range(50):
        policy.learn("a", X, 1.0, time_s=float(t))
        policy.learn("b", X, 1.0, time_s=float(t))
    for t in range(50):
        policy.learn("a", X, 0.0, time_s=1000.0 + t)
    policy.refresh()
    mean, width = policy.ridge.predict(X, ["a", "b"])
    assert mean[0] < 0.05
    assert width[1] > 0.9


def test_forgetting_does_not_depend_on_the_order_of_reading_nor_on_a_restart() -> None:
    times = [0.0, 5000.0, 3000.0, 200.0, 40.0]
    one, other, third = (PacedLinUCB(2, tau_s=100.0) for _ in range(3))
    for t in times:
        one.learn("a", X, t / 5000.0, time_s=t)
    for t in sorted(times, reverse=True):
        other.learn("a", X, t / 5000.0, time_s=t)
    for policy in (one, other):
        policy.refresh()
    third.restore(one.state())
    third.refresh()
    for policy in (other, third):
        np.testing.assert_allclose(policy.ridge.predict(X, ["a"]), one.ridge.predict(X, ["a"]), atol=1e-12)


def test_paced_linucb_pulls_a_newcomer_a_few_times_whatever_it_costs() -> None:
    policy = PacedLinUCB(2, forced=2.0)
    menu = Menu(FREE.arms, np.array([0.0, 9.0, 99.0]))
    teach(policy, a=[1.0] * 2, b=[0.0])
    assert pi(policy, menu) == [0, 0.5, 0.5]
    teach(policy, b=[0.0], c=[1.0] * 2)
    assert pi(policy, menu) == [1, 0, 0]


def paced_costs(budget_usd: float, cost: np.ndarray) -> np.ndarray:
    """(3000,) dollars of as many requests to three arms, the dearer the better."""
    rng, pacer, spent = np.random.default_rng(0), DualAscent(budget_usd), []
    for _ in range(3000):
        quality = np.array([0.5, 0.7, 0.8]) + 0.1 * rng.normal(size=3)
        pacer.observe(quality, cost)
        spent.append(float(cost[(quality - pacer.price * cost).argmax()]))
        pacer.spend(spent[-1])
    return np.array(spent)


@pytest.mark.parametrize("budget_usd", [5e-4, 2e-3, 6e-3])
def test_dual_ascent_holds_the_mean_cost_near_the_budget(budget_usd: float) -> None:
    """A hundredfold apart in price: within 5 %."""
    costs = paced_costs(budget_usd, np.array([1e-4, 1e-3, 1e-2]))
    assert costs.mean() == pytest.approx(budget_usd, rel=0.05)
    with pytest.raises(ValueError, match="positive"):
        DualAscent(0.0)


@pytest.mark.parametrize("budget_usd", [2e-5, 3e-5, 5e-5])
def test_dual_ascent_holds_a_budget_hundreds_of_times_below_the_dearest_arm(budget_usd: float) -> None:
    """Once the first answers are made up for: the last half within 5 %."""
    costs = paced_costs(budget_usd, np.array([1e-5, 1e-4, 1e-2]))
    assert costs[len(costs) // 2 :].mean() == pytest.approx(budget_usd, rel=0.05)


def test_paced_linucb_brings_its_own_pacer() -> None:
    assert isinstance(make_pacer("paced_linucb", 1.0), DualAscent)
    assert isinstance(make_pacer("linucb", 1.0), Pacer)


def test_neighbours_far_away_do_not_count_and_the_oldest_are_forgotten() -> None:
    policy = NearestNeighbours(1, k=2, memory=4, epsilon=0.0)
    for x, y in ((0.0, 1.0), (0.1, 1.0), (5.0, 0.0), (5.1, 0.0)):
        policy.learn("a", np.array([x]), y)
    policy.refresh()
    near, far = (policy.distribution(np.array([x]), Menu(["a"], np.zeros(1))).mean[0] for x in (0.0, 5.0))
    assert (near, far) == (1.0, 0.0)
    for _ in range(4):
        policy.learn("a", np.array([9.0]), 0.5)
    assert len(policy.state()["a"]) == 4 * 3
