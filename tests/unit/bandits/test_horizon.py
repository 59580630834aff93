"""A day's dollars last to its end, whatever the traffic does, and are spent by then."""

import math

import numpy as np
import pytest

from conduit.bandits.horizon import CEILING, Traffic, per_request_usd
from conduit.bandits.pacing import Pacer

DAY_S = 86400.0
COST = np.array([1e-4, 1e-3, 1e-2])
QUALITY = np.array([0.5, 0.7, 0.8])
BUDGET_USD = 2.0
MEAN = 1000.0
"""Requests a day; their even share of the budget is 2e-3."""


def curve(hour: float, *, burst: float = 0.0) -> float:
    """Requests an hour: five times as many at noon as at midnight, and twenty times as many in a burst at 15:00."""
    shape = 1.0 - 2.0 / 3.0 * math.cos(2.0 * math.pi * hour / 24.0)
    return MEAN / 24.0 * shape * (20.0 if 15.0 <= hour < 15.0 + burst else 1.0)


def days(n: int, *, seed: int, scale: float = 1.0, last: float = 1.0, burst: float = 0.0) -> list[float]:
    """What each day spent of its budget; `last` times the traffic on the last, without a word of warning."""
    rng, traffic, pacer, spent_of = np.random.default_rng(seed), Traffic(), Pacer(math.inf), []
    step_s = 60.0
    for day in range(n):
        spent, requests = 0.0, 0
        for k in range(int(DAY_S / step_s)):
            now_s = day * DAY_S + k * step_s
            rate = curve(k * step_s / 3600.0, burst=burst) * scale * (last if day == n - 1 else 1.0)
            came = int(rng.poisson(rate * step_s / 3600.0))
            expected = traffic.expected(now_s, (day + 1) * DAY_S)
            pacer.aim_usd = per_request_usd(BUDGET_USD, spent_usd=spent, requests=requests, expected=expected)
            for _ in range(came):
                quality = QUALITY + 0.1 * rng.normal(size=3)
                cost = COST * np.exp(rng.normal() * 0.5)
                pacer.observe(quality, cost)
                real = float(cost[(quality - pacer.price * cost).argmax()])
                pacer.spend(real)
                spent, requests = spent + real, requests + 1
            traffic.count(came, until_s=now_s + step_s, elapsed_s=step_s)
        spent_of.append(spent / BUDGET_USD)
    return spent_of


@pytest.mark.parametrize("how", [{}, {"last": 2.0}, {"last": 0.5}, {"burst": 0.5}], ids=str)
def test_a_day_is_spent_and_not_overspent(how: dict[str, float]) -> None:
    """Also the first, of which nothing is known, and one with twice the traffic of those before."""
    spent = days(3, seed=1, **how)
    assert max(spent) <= 1.02
    assert min(spent[1:]) > 0.9


def test_requests_are_expected_when_they_came_before() -> None:
    traffic = Traffic()
    for hour in range(48):
        traffic.count(100.0 if hour % 24 == 12 else 10.0, until_s=(hour + 1) * 3600.0, elapsed_s=3600.0)
    assert traffic.expected(48 * 3600.0, 72 * 3600.0) == pytest.approx(330.0, rel=0.05)
    assert traffic.expected(60 * 3600.0, 61 * 3600.0) == pytest.approx(100.0, rel=0.05)


def test_what_is_left_at_the_end_is_not_burnt() -> None:
    assert per_request_usd(10.0, spent_usd=1.0, requests=100.0, expected=1.0) == CEILING * 10.0 / 101.0
    assert per_request_usd(10.0, spent_usd=11.0, requests=100.0, expected=50.0) == 0.0


def test_nothing_is_expected_of_what_was_never_seen() -> None:
    assert Traffic().expected(0.0, DAY_S) == 0.0
