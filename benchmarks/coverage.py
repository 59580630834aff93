"""Do the intervals of `conduit evaluate` cover the truth? Where every outcome is known it can be computed.

    python -m benchmarks.coverage [--tables pareto_val,nim] [--runs 200] [--requests 1000]

Each table's first prompts teach the default policy; the others are the population. A run draws requests from it with
replacement, serves them with the logging policy's probabilities, and concludes from that log alone. The truth is the
mean over the whole population of what the target policy's probabilities give, by the table. Of 200 intervals that cover
with probability .9, between 173 and 187 cover in nine experiments of ten (86.5 % to 93.5 %). Shares are those of the
runs that were concluded; a run is refused when its effective sample is too small.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.off_policy import LEAST_EFFECTIVE, Verdict, verdict
from conduit.bench.replay import priced_models, replay, shuffled
from conduit.bench.tables import Row, read_table
from conduit.routing.decision import Candidate
from conduit.routing.query import Preferences, Query
from conduit.routing.router import Router
from conduit.routing.system import CountingIds, StillClock

TABLES = ("pareto_val", "zeroeval", "nim", "mmlu_pro")
TAUGHT = 500
"""Prompts from which the learned policies and their forecasts come."""


@dataclass(frozen=True, slots=True)
class World:
    """The population: (N, k) arrays, and policies as (N, k) probabilities."""

    quality: Vector
    cost_usd: Vector
    forecast_quality: Vector
    forecast_cost_usd: Vector
    policies: dict[str, Vector]


@dataclass(frozen=True, slots=True)
class Hits:
    """Of each run: whether the interval covers, by estimator, and the effective sample."""

    covers: dict[str, Vector]
    width: float
    effective: Vector


def world(rows: list[Row]) -> World:
    taught, rest = rows[:TAUGHT], rows[TAUGHT:]
    models = priced_models(taught[:100])
    router = Router(models, policy="hierarchical", seed=0, clock=StillClock(), ids=CountingIds())
    for step in replay(taught, policy="uniform", seed=0):
        router.learn(step.observation())
    router.beliefs.refresh()
    names = [model.name for model in models]
    balanced, cheap = (_asked(router, rest, names, Preferences.preset(p)) for p in ("balanced", "cost"))
    quality = np.array([[row.outcomes[n].quality for n in names] for row in rest])
    cost = np.array([[row.outcomes[n].cost_usd for n in names] for row in rest])
    k, best = len(names), int(quality.mean(axis=0).argmax())
    return World(
        quality,
        cost,
        balanced[1],
        balanced[2],
        {
            "learned": balanced[0],
            "learned, cost": cheap[0],
            "uniform": np.full(quality.shape, 1.0 / k),
            "always best": np.tile(np.eye(k)[best], (len(rest), 1)),
        },
    )


def _asked(router: Router, rows: list[Row], names: list[str], preferences: Preferences) -> tuple[Vector, ...]:
    """(N, k) probabilities, qualities and costs as the router sees them."""
    found = [_in_order(router.choose(Query(row.prompt, preferences=preferences)).candidates, names) for row in rows]
    return tuple(
        np.array([[float(getattr(c, name) or 0.0) for c in each] for each in found])
        for name in ("probability", "quality", "cost_usd")
    )


def _in_order(candidates: tuple[Candidate, ...], names: list[str]) -> list[Candidate]:
    by_name = {c.model: c for c in candidates}
    return [by_name[name] for name in names]


def experiment(w: World, *, logging: str, target: str, runs: int, requests: int) -> Hits:
    mu, p = w.policies[logging], w.policies[target]
    truth = {"quality": float((p * w.quality).sum(1).mean()), "cost_usd": float((p * w.cost_usd).sum(1).mean())}
    gain = truth["quality"] - float((mu * w.quality).sum(1).mean())
    saving = truth["cost_usd"] - float((mu * w.cost_usd).sum(1).mean())
    found = [_run(w, mu, p, requests, seed) for seed in range(runs)]
    estimates = {
        "DR": [(v.quality.doubly_robust, truth["quality"]) for v in found],
        "SNIPS": [(v.quality.snips, truth["quality"]) for v in found],
        "gain": [(v.quality.difference, gain) for v in found],
        "cost": [(v.cost_usd.doubly_robust, truth["cost_usd"]) for v in found if v.cost_usd is not None],
        "saving": [(v.cost_usd.difference, saving) for v in found if v.cost_usd is not None],
    }
    covers = {name: np.array([e.low <= t <= e.high for e, t in pairs]) for name, pairs in estimates.items()}
    width = float(np.mean([v.quality.doubly_robust.high - v.quality.doubly_robust.low for v in found]))
    return Hits(covers, width, np.array([v.effective for v in found]))


def _run(w: World, mu: Vector, p: Vector, requests: int, seed: int) -> Verdict:
    chance = np.random.default_rng(seed)
    rows = chance.integers(len(mu), size=requests)
    edges = mu[rows].cumsum(axis=1)
    drawn = (chance.random((requests, 1)) * edges[:, -1:] > edges).sum(axis=1).clip(max=mu.shape[1] - 1)
    asked = p[rows] > 0
    moments = np.divide(p[rows] ** 2, mu[rows], out=np.zeros_like(mu[rows]), where=asked)
    columns = {
        "weight": p[rows, drawn] / mu[rows, drawn],
        "second_moment": moments.sum(axis=1),
    }
    for name in ("quality", "cost_usd"):
        forecast = getattr(w, f"forecast_{name}")
        columns[name] = getattr(w, name)[rows, drawn]
        columns[f"expected_{name}"] = (p[rows] * forecast[rows]).sum(axis=1)
        columns[f"forecast_{name}"] = forecast[rows, drawn]
    return verdict(columns, seed=seed)


def cells() -> Iterator[tuple[str, str]]:
    yield from (("uniform", target) for target in ("always best", "learned", "learned, cost"))
    yield from (("learned", target) for target in ("always best", "uniform", "learned, cost"))


def _share(covers: Vector) -> str:
    return f"{covers.mean():.1%}" if len(covers) else "refused"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args()
    folder = Path(os.environ.get("CONDUIT_ROUTING_TABLES", "../shared/data"))
    names = ("DR", "SNIPS", "gain", "cost", "saving")
    print("| table | logged by | target | effective | concluded | " + " | ".join(names) + " | width |")
    print("|---|---|---|" + "--:|" * (len(names) + 3))
    for table in args.tables.split(","):
        w = world(shuffled(read_table(folder / f"{table}.jsonl.gz"), seed=0))
        for logging, target in cells():
            hits = experiment(w, logging=logging, target=target, runs=args.runs, requests=args.requests)
            concluded = hits.effective >= LEAST_EFFECTIVE
            shown = " | ".join(_share(hits.covers[name][concluded]) for name in names)
            size = f"{np.median(hits.effective):.0f} | {concluded.mean():.0%}"
            print(f"| {table} | {logging} | {target} | {size} | {shown} | {hits.width:.3f} |", flush=True)


if __name__ == "__main__":
    main()
