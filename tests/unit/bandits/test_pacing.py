"""A budget is spent, and not overspent, over an open-ended stream."""

import numpy as np
import pytest

from conduit.bandits.hierarchical import HierarchicalThompson
from conduit.bandits.pacing import EVERY, Pacer
from conduit.bandits.policy import Menu
from conduit.bandits.schedule import Schedule

COST = np.array([1e-4, 1e-3, 1e-2])
QUALITY = np.array([0.5, 0.7, 0.8])


def run(pacer: Pacer, requests: int, *, bias: float = 1.0, seed: int = 0) -> float:
    """Mean cost of greedy choices where real costs are `bias` times the predicted ones."""
    rng = np.random.default_rng(seed)
    spent = 0.0
    for _ in range(requests):
        quality = QUALITY + 0.1 * rng.normal(size=3)
        cost = COST * np.exp(rng.normal() * 0.5)
        pacer.observe(quality, cost)
        real = bias * float(cost[(quality - pacer.price * cost).argmax()])
        pacer.spend(real)
        spent += real
    return spent / requests


@pytest.mark.parametrize("budget_usd", [2e-4, 5e-4, 2e-3, 6e-3])
@pytest.mark.parametrize("bias", [0.7, 1.0, 1.4])
def test_spending_comes_out_at_the_budget_also_where_predictions_are_wrong(budget_usd: float, bias: float) -> None:
    assert run(Pacer(budget_usd), 3000, bias=bias) == pytest.approx(budget_usd, rel=0.02)


@pytest.mark.parametrize("budget_usd", [1.5e-4, 5e-4, 2e-3])
def test_spending_comes_out_also_where_nothing_tells_requests_apart_and_the_choice_is_random(budget_usd: float) -> None:
    """All requests alike: the budget is met by chance between arms, which a price for sure choices would misjudge."""
    rng = np.random.default_rng(0)
    pacer, spent, width = Pacer(budget_usd), 0.0, 0.05
    for _ in range(3000):
        pacer.observe(QUALITY, COST, width)
        real = float(COST[(QUALITY + width * rng.normal(size=3) - pacer.price * COST).argmax()])
        pacer.spend(real)
        spent += real
    assert spent / 3000 == pytest.approx(budget_usd, rel=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_of_equal_requests_and_two_arms_a_hundredfold_apart_spends_its_budget(seed: int) -> None:
    """The default policy under the pacer, from nothing: between .9 and 1.02 of the budget after 1500 requests."""
    rng, policy, pacer = np.random.default_rng(seed), HierarchicalThompson((1,)), Pacer(2e-3)
    arms, cost, quality, x = ("dear", "cheap"), np.array([1e-2, 1e-4]), (0.9, 0.5), np.ones(1)
    schedule, last, spent = Schedule(), 0, 0.0
    pacer.observe(np.full(2, 0.5), cost)
    for n in range(1, 1501):
        answer = policy.distribution(x, Menu(arms, pacer.price * cost))
        a = int(rng.choice(2, p=answer.probability))
        pacer.observe(answer.mean, cost, answer.width)
        pacer.spend(float(cost[a]))
        spent += float(cost[a])
        policy.learn(arms[a], x, quality[a])
        if schedule.due(n, last):
            last = n
            policy.refresh()
    assert 0.9 < spent / 1500 / pacer.budget_usd <= 1.02


def test_a_budget_above_every_cost_has_no_price() -> None:
    pacer = Pacer(1.0)
    run(pacer, 100)
    assert pacer.price == 0.0


def test_a_budget_below_every_cost_chooses_the_cheapest_and_stays_finite() -> None:
    pacer = Pacer(1e-9)
    run(pacer, 300)
    assert np.isfinite(pacer.price)
    assert (QUALITY - pacer.price * COST).argmax() == 0


def test_the_price_falls_as_the_budget_grows() -> None:
    prices = []
    for budget_usd in (2e-4, 1e-3, 5e-3):
        pacer = Pacer(budget_usd)
        run(pacer, 1000)
        prices.append(pacer.price)
    assert prices == sorted(prices, reverse=True)


def test_the_menu_may_change_its_size_between_requests() -> None:
    pacer = Pacer(1e-3)
    for k in (1, 3, 2, 3, 1) * 20:
        pacer.observe(QUALITY[:k], COST[:k])
        pacer.spend(1e-3)
    assert np.isfinite(pacer.price)


def test_one_answer_may_cost_sixteen_requests_and_later_a_hundredth_of_all() -> None:
    pacer = Pacer(1e-3)
    assert pacer.dearest_usd == pytest.approx(16e-3)
    for _ in range(5000):
        pacer.spend(1e-3)
    assert pacer.dearest_usd == pytest.approx(50e-3)


def test_a_day_without_money_is_forgotten_when_there_is_some_again() -> None:
    """Who has spent all asks the cheapest 500 times; the price of before is back with the money."""
    pacer = Pacer(float("inf"))
    pacer.aim_usd = 3e-3
    run(pacer, 500)
    before = pacer.price
    pacer.aim_usd = pacer.room_usd = 0.0
    for _ in range(500):
        pacer.stint(float(COST[0]))
        pacer.spend(float(COST[0]))
    assert pacer.price > 2 * before
    pacer.aim_usd = 3e-3
    for _ in range(EVERY):
        pacer.stint(float(COST[0]))
    assert pacer.price == pytest.approx(before, rel=0.3)


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Pacer(0.0)
