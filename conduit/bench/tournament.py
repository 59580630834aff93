"""Policies against one table: a cold start for every policy, budget and seed, scored from what the table recorded."""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.frontier import Frontier, Point
from conduit.bench.replay import replay, shuffled
from conduit.bench.tables import Row
from conduit.routing.threads import one_thread

MOMENTS = 100
"""Equal stretches of a run, after each of which the regret is kept."""


@dataclass(frozen=True, slots=True)
class Arena:
    """A table, and what is known of it in hindsight."""

    name: str
    rows: Sequence[Row]
    frontier: Frontier


@dataclass(frozen=True, slots=True)
class Entry:
    """One run to be made."""

    policy: str
    budget_usd: float
    seed: int


@dataclass(frozen=True, slots=True)
class Part:
    """Means over a stretch of a run."""

    quality: float
    cost_usd: float
    capture: float


@dataclass(frozen=True, slots=True)
class Run:
    """What became of an entry."""

    policy: str
    budget_usd: float
    seed: int
    n: int
    whole: Part
    second_half: Part
    overshoot: float
    regret: Sequence[float]
    """Cumulative, to the best fixed mixture of that budget, after 0, 1, ... MOMENTS stretches; in quality."""


def entries(policies: Sequence[str], budgets_usd: Sequence[float], seeds: int) -> list[Entry]:
    return [Entry(*entry) for entry in product(policies, budgets_usd, range(seeds))]


def play_all(arena: Arena, entered: Sequence[Entry], *, jobs: int) -> Iterator[Run]:
    """In the order of the entries, by so many processes."""
    if jobs == 1:
        yield from map(partial(play, arena), entered)
        return
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(entered))) as pool:
        yield from pool.imap(partial(play, arena), entered)


def play(arena: Arena, entry: Entry) -> Run:
    """The same seed orders the prompts in the same way for every policy: runs can be compared in pairs."""
    rows = shuffled(arena.rows, seed=entry.seed)
    with one_thread():
        steps = replay(rows, policy=entry.policy, seed=entry.seed, budget_usd=entry.budget_usd)
        got = np.array([(step.recorded.cost_usd, step.recorded.quality) for step in steps])
    whole = _part(got, arena.frontier, entry.budget_usd)
    return Run(
        policy=entry.policy,
        budget_usd=entry.budget_usd,
        seed=entry.seed,
        n=len(rows),
        whole=whole,
        second_half=_part(got[len(got) // 2 :], arena.frontier, entry.budget_usd),
        overshoot=whole.cost_usd / entry.budget_usd,
        regret=_moments(_regret(rows, got, arena.frontier, entry.budget_usd)),
    )


def _part(got: Vector, frontier: Frontier, budget_usd: float) -> Part:
    mean: Point = (float(got[:, 0].mean()), float(got[:, 1].mean()))
    return Part(mean[1], mean[0], frontier.capture(mean, budget_usd=budget_usd))


def _regret(rows: Sequence[Row], got: Vector, frontier: Frontier, budget_usd: float) -> Vector:
    """(n,) cumulative. What the best fixed mixture gives on the same prompts, less what the run got; a dollar counts
    as the quality that it buys on the hull at that budget."""
    worth = np.array([-frontier.dollar(budget_usd), 1.0])
    mixture = frontier.mixture(budget_usd)
    fixed = sum(share * _always(rows, model) for model, share in mixture.items())
    return np.asarray(np.cumsum((fixed - got) @ worth))


def _always(rows: Sequence[Row], model: str) -> Vector:
    """(n, 2) cost and quality."""
    return np.array([(row.outcomes[model].cost_usd, row.outcomes[model].quality) for row in rows])


def _moments(cumulative: Vector) -> list[float]:
    places = np.linspace(0, len(cumulative), MOMENTS + 1).round().astype(int)
    return [round(float(value), 6) for value in np.concatenate([[0.0], cumulative])[places]]
