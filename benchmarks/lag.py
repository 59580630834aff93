"""What it costs to learn from what others saw a little later: many replicas, one ledger, a lag between them.

    python benchmarks/lag.py TABLE.jsonl.gz [--seeds 4] [--rate 10] [--limit N] [--setups ...]

Each request goes to one of the replicas at random, which chooses with the beliefs that it has by then. Its outcome
(rated at once, which makes lag as important as it can be) is in the ledger half a poll later, and each replica reads
the ledger every `poll` seconds, at a phase of its own. Replicas of one phase believe the same, so that at most PHASES
routers are simulated, however many replicas there are. `rate` is of all replicas together, per second.

Regret is counted in utility under the preset `balanced`: of the best single model in hindsight over the same prompts,
and of the best model for each prompt, which nobody can know. Printed are means over seeds; a ratio is the mean over
seeds of the latter regret divided by that of one replica that learns at once, with the same order of prompts, and its
90 % interval over seeds.
"""

import argparse
import heapq
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.replay import FOR_PRICES, Step, priced_models, shuffled
from conduit.bench.tables import Row, read_table
from conduit.routing.catalogue import Catalogue
from conduit.routing.decision import Observation
from conduit.routing.query import Preferences, Query
from conduit.routing.router import Router
from conduit.routing.system import CountingIds, StillClock
from conduit.routing.threads import one_thread

PHASES = 3
PREFERENCES = Preferences.preset("balanced")
SETUPS = "1:0 1:0.25 3:0.25 10:0.25 100:1.5 100:10"
"""Replicas, and seconds between looks into the ledger; 0 learns at once."""
T90 = {2: 6.314, 3: 2.920, 4: 2.353, 5: 2.132, 6: 2.015, 8: 1.895, 10: 1.833, 20: 1.729}
"""Student's t for two-sided 90 %, by number of seeds."""
HEADING = "replicas  poll_s  late  utility  regret vs single  vs per prompt   ratio (90 %) of the latter"


@dataclass
class Phase:
    """All replicas that look into the ledger at the same moments."""

    router: Router
    next_s: float
    read: int = 0


@dataclass(frozen=True)
class Result:
    utility: float
    single: float
    oracle: float
    late: float
    """Mean observations that were made and not yet known where a choice was made."""


def utilities(rows: Sequence[Row], catalogue: Catalogue) -> Vector:
    """(n, k) of every model's recorded outcome."""
    unit = PREFERENCES.cost / catalogue.reference_cost_usd
    return np.array(
        [[row.outcomes[m.name].quality - unit * row.outcomes[m.name].cost_usd for m in catalogue] for row in rows]
    )


def play(rows: Sequence[Row], *, replicas: int, poll_s: float, rate: float, seed: int) -> Result:
    catalogue = Catalogue(priced_models(rows[:FOR_PRICES]))
    worth = utilities(rows, catalogue)
    places = {model.name: i for i, model in enumerate(catalogue)}
    clock, ids, draw = StillClock(), CountingIds(), random.Random(seed)
    count = min(replicas, PHASES)
    phases = [
        Phase(Router(catalogue, seed=seed * PHASES + i, clock=clock, ids=ids), draw.random() * poll_s)
        for i in range(count)
    ]
    ledger: list[tuple[float, Observation]] = []
    waiting: list[tuple[float, int, Observation]] = []
    got, late = np.zeros(len(rows)), 0
    for n, row in enumerate(rows):
        clock.at_s += 1.0 / rate
        while waiting and waiting[0][0] <= clock.at_s:
            visible_s, _, observation = heapq.heappop(waiting)
            ledger.append((visible_s, observation))
        phase = phases[draw.randrange(count)]
        look(phase, ledger, clock.at_s, poll_s)
        late += n - phase.read
        decision = phase.router.choose(Query(row.prompt, preferences=PREFERENCES))
        step = Step(decision, row, phase.router.catalogue[decision.model])
        got[n] = worth[n, places[decision.model]]
        heapq.heappush(waiting, (clock.at_s + poll_s / 2.0, n, step.observation()))
    return Result(
        float(got.mean()),
        float(worth.mean(axis=0).max() * len(rows) - got.sum()),
        float((worth.max(axis=1) - got).sum()),
        late / len(rows),
    )


def look(phase: Phase, ledger: Sequence[tuple[float, Observation]], now_s: float, poll_s: float) -> None:
    """Fold what was visible at this phase's last look, as the follower does."""
    if poll_s == 0.0:
        last_s = now_s
    elif now_s < phase.next_s:
        return
    else:
        looks = int((now_s - phase.next_s) / poll_s)
        last_s = phase.next_s + looks * poll_s
        phase.next_s = last_s + poll_s
    while phase.read < len(ledger) and ledger[phase.read][0] <= last_s:
        phase.router.learn(ledger[phase.read][1])
        phase.read += 1


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean, mean
    half = T90.get(len(values), 1.645) * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--setups", default=SETUPS, help="REPLICAS:POLL_S ...; ratios are to the first")
    options = parser.parse_args()
    table = read_table(options.table)
    print(f"{options.table.name}, {options.seeds} seeds, {options.rate:g} requests/s over all replicas\n{HEADING}")
    alone: list[float] = []
    for replicas, poll_s in (map(float, setup.split(":")) for setup in options.setups.split()):
        with one_thread():
            results = [
                play(
                    shuffled(table, seed=seed, limit=options.limit),
                    replicas=int(replicas),
                    poll_s=poll_s,
                    rate=options.rate,
                    seed=seed,
                )
                for seed in range(options.seeds)
            ]
        alone = alone or [each.oracle for each in results]
        ratio, low, high = interval([each.oracle / first for each, first in zip(results, alone, strict=True)])
        means = [
            statistics.fmean(getattr(each, name) for each in results)
            for name in ("late", "utility", "single", "oracle")
        ]
        print(
            f"{replicas:8.0f} {poll_s:7.2f} {means[0]:5.0f}  {means[1]:.4f}  {means[2]:16.1f}  {means[3]:13.1f}   "
            f"{ratio:.4f} ({low:.4f}, {high:.4f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
