"""How well the router follows a world that changes: the best model's quality halves, its price rises tenfold, a better
model comes.

    python benchmarks/drift.py TABLE.jsonl.gz [TABLE.jsonl.gz ...] [--seeds 5] [--world halved ...]

A cold start, 1000 prompts of the table, then the change, then 1200 more, a minute apart; feedback on the chosen model
only. The table's prompts come in a new order whenever they are through. The best model is the one with the highest
mean utility under the preset `balanced`, before the change; in `tenfold` what it costs is ten times what its list
price says, as when its answers become ten times as long; in `newcomer` it is there only from the change on; in `calm`
nothing happens. Attainable is the mean utility of the best single model after the change, over the same prompts.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from conduit.bench.replay import FOR_PRICES, Step, priced_models
from conduit.bench.tables import Recorded, Row, read_table
from conduit.routing.catalogue import Model
from conduit.routing.query import Preferences, Query
from conduit.routing.router import Router
from conduit.routing.system import CountingIds, StillClock
from conduit.routing.threads import one_thread

BEFORE, AFTER = 1000, 1200
RECOVERED = 600
EARLY, LATE = (100, 150), (AFTER - 300, AFTER)
"""Between these prompts after the change the best model's share is looked at."""
HEADING = "table      world    first 600 after 600           (90 %)   noticed  share 100..150, last 300  false    s"
WORLDS = ("calm", "halved", "tenfold", "newcomer")
PREFERENCES = Preferences.preset("balanced")
MINUTE_S = 60.0


@dataclass
class Run:
    """What became of one stream. Utilities are of each prompt after the change."""

    got: list[float] = field(default_factory=list)
    single: dict[str, list[float]] = field(default_factory=dict)
    asked_best: list[bool] = field(default_factory=list)
    noticed: int | None = None
    """Prompts after the change at which it was."""
    alarms: int = 0
    """Changes announced that did not happen, of (model, signal)."""

    def recovered(self, start: int, end: int) -> float:
        """Utility got per utility attainable between so many prompts after the change."""
        attainable = max(statistics.fmean(each[start:end]) for each in self.single.values())
        return statistics.fmean(self.got[start:end]) / attainable

    def share(self, start: int, end: int) -> float:
        return statistics.fmean(self.asked_best[start:end])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--world", action="append", choices=WORLDS)
    parser.add_argument("--policy", default="hierarchical")
    args = parser.parse_args()
    print(HEADING)
    for path in args.tables:
        rows = read_table(path)
        for world in args.world or WORLDS:
            start = time.monotonic()
            with one_thread():
                runs = [play(rows, world, seed, args.policy) for seed in range(args.seeds)]
            show(path.name.split(".")[0], world, runs, time.monotonic() - start)


def show(table: str, world: str, runs: Sequence[Run], took_s: float) -> None:
    recovered = [run.recovered(RECOVERED, AFTER) for run in runs]
    low, high = interval(recovered)
    noticed = [run.noticed for run in runs if run.noticed is not None]
    columns = (
        f"{table:10}",
        f"{world:8}",
        f"{statistics.fmean(run.recovered(0, RECOVERED) for run in runs):9.4f}",
        f"{statistics.fmean(recovered):9.4f} ({low:.4f}, {high:.4f})",
        f"{statistics.median(noticed):4.0f} in {len(noticed)}" if noticed else f"{'-':>9}",
        f"{statistics.fmean(run.share(*EARLY) for run in runs):9.2f}",
        f"{statistics.fmean(run.share(*LATE) for run in runs):9.2f}",
        f"{sum(run.alarms for run in runs):6d}",
        f"{took_s:4.0f}",
    )
    print(*columns, flush=True)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """90 % percentile bootstrap of the mean."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(10_000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.05, 0.95])
    return float(low), float(high)


def play(rows: Sequence[Row], world: str, seed: int, policy: str) -> Run:
    models = priced_models(rows[:FOR_PRICES])
    reference = Router(models).catalogue.reference_cost_usd
    best = max(models, key=lambda m: statistics.fmean(utility(row.outcomes[m.name], reference) for row in rows))
    present = [m for m in models if m is not best] if world == "newcomer" else models
    clock, run, alarmed = StillClock(1.8e9), Run(single={m.name: [] for m in models}), set[tuple[str, str]]()
    router = Router(present, policy=policy, seed=seed, clock=clock, ids=CountingIds())
    for t, row in enumerate(prompts(rows, seed, BEFORE + AFTER)):
        if t == BEFORE and world == "newcomer":
            router.replace_models(models)
        seen = changed(row, best, world) if t >= BEFORE else row
        clock.at_s += MINUTE_S
        decision = router.choose(Query(seen.prompt, preferences=PREFERENCES))
        step = Step(decision, seen, router.catalogue[decision.model])
        router.learn(step.observation())
        watch(run, router, alarmed, t, best.name, {"halved": "quality", "tenfold": "tokens"}.get(world))
        if t >= BEFORE:
            run.got.append(utility(step.recorded, reference))
            run.asked_best.append(decision.model == best.name)
            for name, each in run.single.items():
                each.append(utility(seen.outcomes[name], reference))
    return run


def watch(run: Run, router: Router, alarmed: set[tuple[str, str]], t: int, best: str, signal: str | None) -> None:
    """Onsets of changes: the one that is looked for after it happened, and all others."""
    now = set(router.beliefs.changes)
    for model, of in now - alarmed:
        if t >= BEFORE and (model, of) == (best, signal):
            run.noticed = t - BEFORE if run.noticed is None else run.noticed
        else:
            run.alarms += 1
    alarmed.clear()
    alarmed.update(now)


def prompts(rows: Sequence[Row], seed: int, n: int) -> Iterator[Row]:
    chance, order = random.Random(seed), list(rows)
    given = 0
    while True:
        chance.shuffle(order)
        for row in order:
            if given == n:
                return
            given += 1
            yield row


def changed(row: Row, best: Model, world: str) -> Row:
    was = row.outcomes[best.name]
    if world == "halved":
        return replace(row, outcomes={**row.outcomes, best.name: replace(was, quality=was.quality / 2)})
    if world == "tenfold":
        return replace(row, outcomes={**row.outcomes, best.name: replace(was, cost_usd=was.cost_usd * 10)})
    return row


def utility(recorded: Recorded, reference: float) -> float:
    return PREFERENCES.quality * recorded.quality - PREFERENCES.cost * recorded.cost_usd / reference


if __name__ == "__main__":
    main()
