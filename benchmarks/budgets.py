"""How well a day's budget is kept when requests come unevenly: spent / budget on routing tables, days and seeds.

    CONDUIT_ROUTING_TABLES=../shared/data python -m benchmarks.budgets [--seeds 10] [--per-day 400] [--days 3]

Requests come by a curve, five times as many at noon as at midnight; in `bursts` an hour in the afternoon has ten times
as many; in `doubled` the last day has twice as many without warning. The budget of a day is that of the middle of the
ladder of docs/benchmarks.md, times the mean number of requests. Beliefs start from nothing on the first day.
"""

import argparse
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from conduit.bench.frontier import frontier
from conduit.bench.replay import FOR_PRICES, QUALITY_ONLY, Step, priced_models, shuffled
from conduit.bench.tables import Row, read_table
from conduit.core.budget import Budget, Spent
from conduit.gateway.money.budget_pacers import Pace, Together
from conduit.routing.query import Query
from conduit.routing.router import Router
from conduit.routing.system import CountingIds, StillClock

DAY_S = 86400.0
MINUTES = 24 * 60
PATTERNS = ("curve", "bursts", "doubled")


def arrivals(pattern: str, per_day: int, days: int, seed: int) -> Iterator[tuple[float, int]]:
    """Each minute, and how many come in it."""
    chance = np.random.default_rng(seed)
    for day in range(days):
        for minute in range(MINUTES):
            hour = minute / 60.0
            rate = per_day / MINUTES * (1.0 - 2.0 / 3.0 * math.cos(2.0 * math.pi * hour / 24.0))
            rate *= 10.0 if pattern == "bursts" and 15.0 <= hour < 16.0 else 1.0
            rate *= 2.0 if pattern == "doubled" and day == days - 1 else 1.0
            yield day * DAY_S + minute * 60.0, int(chance.poisson(rate))


def spent(rows: list[Row], *, usd_per_day: float, pattern: str, per_day: int, days: int, seed: int) -> list[float]:
    """Of the budget, on each day."""
    clock, pace = StillClock(), Pace("gateway", Budget(usd_per_day=usd_per_day))
    router = Router(priced_models(rows[:FOR_PRICES]), seed=seed, clock=clock, ids=CountingIds())
    together, prompts = Together([pace]), iter(rows * 5)
    days_usd, counts = [0.0] * days, [0] * days
    for now_s, count in arrivals(pattern, per_day, days, seed):
        day = int(now_s // DAY_S)
        clock.at_s = now_s
        (account,) = pace.budget.accounts("gateway", now_s)
        pace.look({account: Spent(days_usd[day], counts[day])}, now_s)
        for row in (next(prompts) for _ in range(count)):
            decision = router.choose(Query(row.prompt, preferences=QUALITY_ONLY), pacer=together)
            step = Step(decision, row, router.catalogue[decision.model])
            router.learn(step.observation())
            pace.pacer.spend(step.recorded.cost_usd)
            days_usd[day] += step.recorded.cost_usd
            counts[day] += 1
    return [usd / usd_per_day for usd in days_usd]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seeds", 10), ("per-day", 400), ("days", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("tables", nargs="*", default=["pareto_val", "routellm"])
    wanted = parser.parse_args()
    folder = Path(os.environ.get("CONDUIT_ROUTING_TABLES", "../shared/data"))
    print(f"{'table':<12}{'requests':<10}{'first day':>10}{'later days':>12}{'least':>8}{'worst':>8}", flush=True)
    for table in wanted.tables:
        rows = read_table(folder / f"{table}.jsonl.gz")
        usd = frontier(rows).budgets(6)[2] * wanted.per_day
        for pattern in PATTERNS:
            how = {"pattern": pattern, "per_day": wanted.per_day, "days": wanted.days}
            seeds = range(wanted.seeds)
            runs = np.array([spent(shuffled(rows, seed=s), usd_per_day=usd, seed=s, **how) for s in seeds])
            later = runs[:, 1:]
            print(
                f"{table:<12}{pattern:<10}{runs[:, 0].mean():>10.3f}{later.mean():>12.3f}"
                f"{later.min():>8.3f}{runs.max():>8.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
