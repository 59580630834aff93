"""Runs and how they are summed up: what a fixed policy must score, and what an interval must do."""

import numpy as np
import pytest

from conduit.bench.frontier import frontier
from conduit.bench.standings import paired, standings
from conduit.bench.tournament import MOMENTS, Arena, Entry, Part, Run, entries, play
from tests.unit.bench.made_up import made_up_rows

ROWS = made_up_rows(80)
ARENA = Arena("made_up", ROWS, frontier(ROWS))


def a_run(policy: str, seed: int, capture: float, *, budget_usd: float = 1.0, overshoot: float = 1.0) -> Run:
    part = Part(0.5, 1.0, capture)
    return Run(policy, budget_usd, seed, 10, part, part, overshoot, [0.0] * (MOMENTS + 1))


@pytest.mark.parametrize(
    "model", [name for name, point in ARENA.frontier.singles.items() if point in ARENA.frontier.hull]
)
def test_a_single_model_on_the_hull_captures_nothing_at_its_own_cost(model: str) -> None:
    run = play(ARENA, Entry(f"fixed:{model}", ARENA.frontier.singles[model][0], seed=1))
    assert run.whole.capture == pytest.approx(0.0, abs=1e-9)
    assert run.overshoot == pytest.approx(1.0)


def test_the_regret_of_that_mixture_itself_stays_at_zero() -> None:
    """At the best model's cost the mixture is the best model, prompt by prompt."""
    best = max(ARENA.frontier.singles, key=lambda name: ARENA.frontier.singles[name][1])
    run = play(ARENA, Entry(f"fixed:{best}", ARENA.frontier.best_usd, seed=1))
    assert np.abs(run.regret).max() < 1e-6
    assert len(run.regret) == MOMENTS + 1


def test_regret_ends_where_quality_and_dollars_say() -> None:
    budget_usd = ARENA.frontier.budgets(3)[1]
    run = play(ARENA, Entry("uniform", budget_usd, seed=1))
    worth = ARENA.frontier.dollar(budget_usd)
    shares, singles = ARENA.frontier.mixture(budget_usd), ARENA.frontier.singles
    fixed = sum(share * (singles[m][1] - worth * singles[m][0]) for m, share in shares.items())
    expected = run.n * (fixed - (run.whole.quality - worth * run.whole.cost_usd))
    assert run.regret[-1] == pytest.approx(expected, abs=1e-5)


def test_a_run_is_the_same_again() -> None:
    entry = Entry("thompson_sampling", 5e-4, seed=2)
    assert play(ARENA, entry) == play(ARENA, entry)


def test_every_policy_plays_every_budget_with_every_seed() -> None:
    entered = entries(["a", "b"], [1.0, 2.0], 3)
    assert len(set(entered)) == 12
    assert [e.policy for e in entered] == ["a"] * 6 + ["b"] * 6


# ------------------------------------------------------------------ standings


def test_errors_are_over_seeds_and_not_over_budgets() -> None:
    """Budgets differ by nature; seeds, each with its mean over budgets, are what is repeated."""
    runs = [a_run("a", seed, seed + 10 * budget, budget_usd=budget) for seed in (0, 1, 2) for budget in (1.0, 2.0)]
    (stood,) = standings(runs)
    assert stood.capture == pytest.approx(16.0)
    assert stood.capture_error == pytest.approx(1 / 3**0.5)


def test_overshoot_is_that_of_the_budget_where_it_is_most() -> None:
    """What is left over at one budget pays for nothing at another."""
    seen = {(1.0, 0): 0.5, (1.0, 1): 0.7, (2.0, 0): 1.0, (2.0, 1): 1.06}
    runs = [a_run("a", seed, 0.0, budget_usd=budget, overshoot=o) for (budget, seed), o in seen.items()]
    (stood,) = standings(runs)
    assert stood.overshoot == pytest.approx(1.03)
    assert stood.worst_overshoot == 1.06


def test_differences_are_taken_seed_by_seed_from_the_first_policy() -> None:
    """Seeds that are hard for both do not widen the interval."""
    runs = [a_run("a", seed, seed + 0.1) for seed in range(10)] + [a_run("b", seed, float(seed)) for seed in range(10)]
    first, second = standings(runs)
    assert first.behind_first is None
    assert second.behind_first is not None
    assert (second.behind_first.low, second.behind_first.high) == pytest.approx((0.1, 0.1))
    assert second.behind_first.n == 10


def test_one_seed_gives_no_error_and_no_interval() -> None:
    stood = standings([a_run("a", 0, 0.1), a_run("b", 0, 0.2)])
    assert [(s.capture_error, s.behind_first) for s in stood] == [(None, None)] * 2


def test_the_interval_covers_the_truth() -> None:
    """At 90 % with 20 seeds a percentile bootstrap covers between 83 and 93 %; 300 draws, seed 0."""
    random = np.random.default_rng(0)
    found = [paired(random.normal(0.3, 1.0, size=20)) for _ in range(300)]
    assert 0.83 <= np.mean([d.low <= 0.3 <= d.high for d in found]) <= 0.93
