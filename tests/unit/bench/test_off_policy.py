"""Estimates against what is known to be true, and the refusal to conclude from what is not there."""

from dataclasses import replace

import numpy as np
import pytest

from conduit.bandits.policy import Vector
from conduit.bench.intervals import RESAMPLES, bootstrap_sums
from conduit.bench.off_policy import LEAST_EFFECTIVE, Verdict, verdict
from conduit.cli.evaluate import conclusion, report

N = 1200
QUALITY = np.array([0.3, 0.7])


def columns(mu: float, p: float, *, n: int = N, seed: int = 0, forecast: float = 0.5) -> dict[str, Vector]:
    """Two models; the second was drawn with probability `mu`, and would have been with `p`."""
    chance = np.random.default_rng(seed)
    drawn = (chance.random(n) < mu).astype(int)
    logged, wanted = np.array([1 - mu, mu]), np.array([1 - p, p])
    quality = (chance.random(n) < QUALITY[drawn]).astype(float)
    flat = np.full(n, forecast)
    return {
        "weight": (wanted / logged)[drawn],
        "second_moment": np.full(n, float((wanted**2 / logged).sum())),
        "expected_quality": flat,
        "forecast_quality": flat,
        "quality": quality,
        "expected_cost_usd": flat,
        "forecast_cost_usd": flat,
        "cost_usd": 1.0 + drawn,
    }


def test_every_estimator_finds_the_truth() -> None:
    """From a fair log, of a policy that prefers the better model."""
    found = verdict(columns(0.5, 0.9))
    truth = 0.1 * 0.3 + 0.9 * 0.7
    for estimate in (found.quality.doubly_robust, found.quality.snips):
        assert estimate.low < truth < estimate.high
        assert estimate.high - estimate.low < 0.12
    assert found.cost_usd is not None
    assert found.cost_usd.doubly_robust.low < 1.9 < found.cost_usd.doubly_robust.high
    assert found.quality.difference.low > 0
    assert found.concluded


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of 200 logs about nine in ten; the whole measurement is benchmarks/coverage.py."""
    truth = 0.1 * 0.3 + 0.9 * 0.7
    found = [verdict(columns(0.5, 0.9, n=300, seed=seed), seed=seed).quality for seed in range(200)]
    for name in ("doubly_robust", "snips"):
        estimates = [getattr(each, name) for each in found]
        assert 0.85 <= np.mean([e.low <= truth <= e.high for e in estimates]) <= 0.95


def test_the_policy_that_served_is_no_different_from_itself() -> None:
    found = verdict(columns(0.3, 0.3))
    assert found.effective == pytest.approx(N)
    assert found.quality.difference.value == pytest.approx(0.0, abs=1e-12)


def test_intervals_cover_where_weights_are_heavy_and_the_forecast_is_wrong() -> None:
    """Some hundred draws of 2500, each with a weight of 22, where the forecast is off by .2."""
    truth = 0.1 * 0.3 + 0.9 * 0.7
    found = [verdict(columns(0.04, 0.9, n=2500, seed=seed), seed=seed) for seed in range(100)]
    estimates = [each.quality.doubly_robust for each in found if each.concluded]
    assert len(estimates) > 50
    assert np.mean([e.low <= truth <= e.high for e in estimates]) >= 0.82  # of 90 %, less two and a half errors


def test_what_was_never_drawn_makes_the_sample_smaller() -> None:
    """Nothing that was logged has a large weight, and still little is known of what the other policy asks for."""
    lucky = columns(0.001, 0.05, seed=6, n=400)
    assert lucky["weight"].max() < 20
    kish = lucky["weight"].sum() ** 2 / (lucky["weight"] ** 2).sum()
    assert kish > LEAST_EFFECTIVE
    assert verdict(lucky).effective < kish / 2


def refused() -> Verdict:
    return verdict(columns(0.01, 0.99), requests_a_day=240.0)


def test_a_refusal_says_how_long_to_wait() -> None:
    """In requests, and in days at the rate at which they came."""
    found = refused()
    assert found.effective < LEAST_EFFECTIVE
    assert found.requests + found.requests_needed == pytest.approx(N * LEAST_EFFECTIVE / found.effective, abs=1)
    assert found.days_needed == pytest.approx(found.requests_needed / 240)
    told = conclusion(found, "linucb")
    assert "No conclusion" in told
    assert f"{found.requests_needed} more rated requests" in told
    assert f"some {found.days_needed:.0f} days at the rate of these" in told
    assert "days" not in conclusion(replace(found, requests_a_day=None), "linucb")


def test_nothing_in_common_is_no_sample() -> None:
    """An effective sample of 0, and no estimate by weights."""
    none = columns(0.5, 0.9)
    none["weight"] = np.zeros(N)
    found = verdict(none)
    assert found.effective == 0
    assert np.isnan(found.quality.snips.value)
    assert report(found, "x")["concluded"] is False


def test_without_prices_there_is_no_cost() -> None:
    unpriced = columns(0.5, 0.9)
    unpriced["forecast_cost_usd"] = np.full(N, np.nan)
    assert verdict(unpriced).cost_usd is None


def test_resamples_of_a_long_log_are_made_in_parts() -> None:
    """Each of as many requests as there are."""
    sums = bootstrap_sums(np.ones((5001, 1)), seed=0)
    assert sums.shape == (RESAMPLES, 1)
    assert set(sums.ravel()) == {5001.0}
