"""Replicas that write at the same time on one PostgreSQL: each folds every observation once, and how late.

    python -m benchmarks.replicas [--replicas 3] [--each 4000] [--rate 100]

A replica is a process with a ledger, a router and a follower of its own. It writes `each` decisions with their outcome
and one observation, `rate` a second, as a gateway does. The lag of an observation is from its acknowledged commit to
when another replica has folded it.
"""

import argparse
import asyncio
import multiprocessing as mp
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from statistics import quantiles
from time import time
from typing import Any

import numpy as np

from benchmarks.witness import difference
from conduit.bench.prompts import prompts
from conduit.core.events import nobody
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.observations import lessons_of_outcome
from conduit.routing.catalogue import Catalogue, Model, Price
from conduit.routing.decision import Attempt, Observation, Outcome, Status
from conduit.routing.router import Router
from conduit.routing.system import TimeOrderedIds
from conduit.stores.sql.ledger import SqlLedger
from tests.support.postgres import PostgresServer

INTERVAL_S = 0.25
PATIENCE_S = 120.0
PROBES = list(islice(prompts(7), 10))


class Timed(Router):
    """Writes down when it folded what."""

    def __init__(self, catalogue: Catalogue, number: int) -> None:
        super().__init__(catalogue, seed=number, ids=TimeOrderedIds())
        self.folded_s: dict[str, float] = {}
        self.folds = 0

    def fold(self, observation: Observation) -> None:
        super().fold(observation)
        self.folds += 1
        self.folded_s[observation.decision_id] = time()


async def replica(url: str, number: int, each: int, rate: float, everybody: int) -> dict[str, Any]:
    catalogue = Catalogue(
        [Model(name, "none", price=Price(1.0, usd)) for name, usd in (("a", 1.0), ("b", 8.0), ("c", 30.0))]
    )
    router, ledger, draw = Timed(catalogue, number), SqlLedger(url), Random(number)
    await ledger.open()
    follower = Follower(ledger=ledger, router=router, listener=nobody, interval_s=INTERVAL_S)
    following = asyncio.create_task(follower.run())
    written: dict[str, float] = {}
    begun_s = time()

    async def write(prompt: str) -> None:
        decision = router.choose(prompt)
        recorded, model = ledger.append(decision), decision.model
        latency_s = draw.uniform(0.1, 2.0)
        outcome = Outcome(decision.id, decision.time_s, model, Status.ANSWERED, (Attempt(model, latency_s),))
        outcome = replace(outcome, input_tokens=50, output_tokens=draw.randrange(20, 800), latency_s=latency_s)
        await recorded
        await ledger.append(outcome, *lessons_of_outcome(decision, outcome))
        written[decision.id] = time()
        follower.wake()

    async with asyncio.TaskGroup() as tasks:
        for n, prompt in enumerate(islice(prompts(number), each)):
            tasks.create_task(write(prompt))
            await asyncio.sleep(max(begun_s + n / rate - time(), 0.0))
    took_s = time() - begun_s
    while router.folds < everybody and time() - begun_s < took_s + PATIENCE_S:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
    await asyncio.sleep(4.0 * INTERVAL_S)
    following.cancel()
    await follower.catch_up()
    told = [[x for c in sorted(router.choose(p).candidates) for x in c[1:] if x is not None] for p in PROBES]
    await ledger.close()
    return {"folds": router.folds, "seen": router.folded_s, "written": written, "told": told, "took_s": took_s}


def work(url: str, number: int, each: int, rate: float, everybody: int, results: Any) -> None:
    results.put(asyncio.run(replica(url, number, each, rate, everybody)))


def run(replicas: int, each: int, rate: float) -> bool:
    with PostgresServer(fsync=True) as server:
        asyncio.run(_migrated(server.url))
        context = mp.get_context("spawn")
        results: Any = context.Queue()
        everybody = replicas * each
        processes = [
            context.Process(target=work, args=(server.url, n, each, rate, everybody, results)) for n in range(replicas)
        ]
        for process in processes:
            process.start()
        found = [results.get() for _ in processes]
        for process in processes:
            process.join()
    return report(found, everybody)


async def _migrated(url: str) -> None:
    ledger = SqlLedger(url)
    await ledger.open()
    await ledger.close()


def report(found: Sequence[dict[str, Any]], everybody: int) -> bool:
    lags = [
        one["seen"][name] - at
        for writer in found
        for name, at in writer["written"].items()
        for one in found
        if one is not writer
    ]
    cuts = quantiles(lags, n=100)
    apart = max(difference(found[0]["told"], other["told"]) for other in found[1:])
    folds = [one["folds"] for one in found]
    seconds = max(one["took_s"] for one in found)
    print(
        f"{len(found)} replicas on PostgreSQL, {everybody} observations in {seconds:.0f} s: folded {folds}, of "
        f"{[len(one['seen']) for one in found]} decisions; beliefs apart {apart:.1e}; "
        f"lag median {np.median(lags):.3f} s, p99 {cuts[98]:.3f} s, largest {max(lags):.3f} s"
    )
    return folds == [everybody] * len(found) and apart <= 1e-9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--each", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=100.0)
    given = parser.parse_args()
    sys.exit(not run(given.replicas, given.each, given.rate))


if __name__ == "__main__":
    main()
