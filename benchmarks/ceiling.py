"""What the default policy gets when it need not try: after each choice it is told what all models would have given.

    python -m benchmarks.ceiling TABLE.jsonl.gz [...] [--seeds 5] [--budgets 6] [--jobs 1]

The same beliefs, features, pacing and budgets as in `conduit bench`, from a cold start, in the same orders of prompts,
and scored in the same way; only the feedback is whole. What the bandit lacks to it is the price of exploration and of
seeing one outcome in k; what it lacks to 1 is what these features do not tell in so many prompts.
"""

import argparse
import multiprocessing
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from conduit.bench.frontier import Frontier, frontier
from conduit.bench.replay import FOR_PRICES, QUALITY_ONLY, Step, priced_models, shuffled
from conduit.bench.tables import Row, read_table
from conduit.routing.decision import Observation
from conduit.routing.query import Query
from conduit.routing.router import Router
from conduit.routing.system import CountingIds, StillClock
from conduit.routing.threads import one_thread

Capture = tuple[float, float]
"""Of the whole run and of its second half."""


def steps(rows: list[Row], *, budget_usd: float, seed: int) -> Iterator[Step]:
    clock = StillClock()
    router = Router(priced_models(rows[:FOR_PRICES]), budget_usd=budget_usd, seed=seed, clock=clock, ids=CountingIds())
    for row in rows:
        clock.at_s += 1.0
        decision = router.choose(Query(row.prompt, preferences=QUALITY_ONLY))
        step = Step(decision, row, router.catalogue[decision.model])
        router.learn(step.observation())
        for model in router.catalogue:
            if model.name != decision.model:
                router.learn(unpaid(Step(replace(decision, model=model.name), row, model)))
        yield step


def unpaid(step: Step) -> Observation:
    """It teaches, and the budget knows nothing of it."""
    return replace(step.observation(), cost_usd=None)


def play(rows: list[Row], hull: Frontier, run: tuple[float, int]) -> Capture:
    budget_usd, seed = run
    with one_thread():
        chosen = steps(shuffled(rows, seed=seed), budget_usd=budget_usd, seed=seed)
        got = np.array([(step.recorded.cost_usd, step.recorded.quality) for step in chosen])
    whole, half = ((float(part[:, 0].mean()), float(part[:, 1].mean())) for part in (got, got[len(got) // 2 :]))
    return hull.capture(whole, budget_usd=budget_usd), hull.capture(half, budget_usd=budget_usd)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    for name, usual in (("seeds", 5), ("budgets", 6), ("jobs", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    print(f"{'table':<12} {'capture':>16} {'2nd half':>9}   {given.seeds} seeds, {given.budgets} budgets")
    for path in given.tables:
        rows = read_table(path)
        hull = frontier(rows)
        budgets = hull.budgets(given.budgets)
        runs = [(budget_usd, seed) for seed in range(given.seeds) for budget_usd in budgets]
        with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
            played = pool.map(partial(play, rows, hull), runs, chunksize=1)
        by_seed = np.array(played).reshape(given.seeds, len(budgets), 2).mean(axis=1)
        error = statistics.stdev(by_seed[:, 0]) / given.seeds**0.5 if given.seeds > 1 else 0.0
        whole, half = by_seed.mean(axis=0)
        print(f"{path.name.split('.')[0]:<12} {whole:+9.3f} ±{error:5.3f} {half:+9.3f}", flush=True)


if __name__ == "__main__":
    main()
