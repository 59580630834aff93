"""How the policies stand after all runs on a table: means, standard errors, and differences in pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.tournament import Run

LEVEL = 0.9
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Of captures, the first policy's less this one's; the interval is a bootstrap's over seeds."""

    mean: float
    low: float
    high: float
    level: float
    n: int
    """Seeds, each of which is one pair."""


@dataclass(frozen=True, slots=True)
class Standing:
    policy: str
    capture: float
    capture_error: float | None
    """Standard error over seeds; None for a single one."""
    second_half: float
    """Capture of the last half of the prompts."""
    overshoot: float
    """Spent / budget, mean over seeds, at the budget where that is the most."""
    worst_overshoot: float
    """Of any run."""
    behind_first: Difference | None
    """None for the first policy itself, and for a single seed."""


def standings(runs: Sequence[Run]) -> list[Standing]:
    """In the order in which the policies were entered."""
    by_policy = {policy: [r for r in runs if r.policy == policy] for policy in dict.fromkeys(r.policy for r in runs)}
    captures = {policy: _by_seed(played) for policy, played in by_policy.items()}
    first = next(iter(by_policy))
    ahead = {policy: captures[first] - found for policy, found in captures.items() if policy != first}
    return [_standing(played, captures[policy], ahead.get(policy)) for policy, played in by_policy.items()]


def _standing(runs: Sequence[Run], captures: Vector, ahead: Vector | None) -> Standing:
    several = len(captures) > 1
    overshoots: dict[float, list[float]] = {}
    for run in runs:
        overshoots.setdefault(run.budget_usd, []).append(run.overshoot)
    return Standing(
        policy=runs[0].policy,
        capture=float(captures.mean()),
        capture_error=float(captures.std(ddof=1)) / len(captures) ** 0.5 if several else None,
        second_half=float(np.mean([r.second_half.capture for r in runs])),
        overshoot=max(float(np.mean(seen)) for seen in overshoots.values()),
        worst_overshoot=max(r.overshoot for r in runs),
        behind_first=paired(ahead) if several and ahead is not None else None,
    )


def _by_seed(runs: Sequence[Run]) -> Vector:
    """(seeds,) mean capture over the budgets."""
    seeds = sorted({r.seed for r in runs})
    return np.array([np.mean([r.whole.capture for r in runs if r.seed == seed]) for seed in seeds])


def paired(differences: Vector) -> Difference:
    """Mean over seeds with a percentile interval."""
    n = len(differences)
    picks = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(differences[picks].mean(axis=1), [tail, 1 - tail])
    return Difference(float(differences.mean()), float(low), float(high), LEVEL, n)
