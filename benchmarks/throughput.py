"""Settled requests a second, with the ledger in SQLite and in PostgreSQL, against the same gateway with it in memory.

    python -m benchmarks.throughput [--rounds 12] [--requests 400]

In process, on uvloop as in production, without HTTP: a request is chosen, asked of the sandbox at no delay, and
settled, which is when its decision and outcome are durable; 64 run at a time, and a turn is over when all is folded,
too. The three take turns within each round, and ratios are of one round: the median and the quartiles of them are told.
PostgreSQL runs on the same machine, with fsync on.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import uvloop

from conduit.assemble import put_together
from conduit.assemble.conduit import Conduit
from conduit.assemble.stores import Stores, in_database, in_memory
from conduit.bench.prompts import prompts
from conduit.core.config import make_settings
from conduit.core.events import nobody
from conduit.gateway.request.exchange import Ask
from conduit.providers.discovery import Declared
from conduit.providers.fleet import gather_fleet
from conduit.routing.query import Query
from conduit.routing.system import SystemClock
from conduit.stores.files.spool_writer import Terms
from conduit.stores.sql.ledger import SqlLedger
from tests.support.postgres import PostgresServer

AT_ONCE = 64


def in_sql(url: str, spool: Path) -> Stores:
    ledger = SqlLedger(url, spool=Terms(spool, 2**28, "mine"))
    return in_database(ledger, ledger.database)


async def started(stores: Stores) -> Conduit:
    clock = SystemClock()
    settings = make_settings(file={"sandbox": "on", "sandbox_time_scale": 0, "seed": 1}, environ={})
    fleet = await gather_fleet({}, Declared([], []), sandbox="on", sandbox_time_scale=0, now_s=clock.now_s)
    conduit = put_together(settings, fleet, stores, clock=clock, listener=nobody)
    await conduit.start()
    return conduit


async def turn(conduit: Conduit, texts: Sequence[str]) -> tuple[float, float]:
    """Wall and processor seconds of this process for all of them."""
    waiting = iter(texts)

    async def caller() -> None:
        for text in waiting:
            body = {"messages": [{"role": "user", "content": text}]}
            done = await conduit.gateway.complete(Ask(Query(text=text), body))
            assert done.kept is not None
            await asyncio.sleep(0)  # as on a socket: in memory nothing else would ever let the follower come between

    wall, cpu = perf_counter(), process_time()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    await conduit.follower.catch_up()
    return perf_counter() - wall, process_time() - cpu


async def run(rounds: int, requests: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="throughput")))
        server = stack.enter_context(PostgresServer(fsync=True))
        made = {
            "memory": in_memory(),
            "SQLite": in_sql(f"sqlite:///{folder / 'conduit.db'}", folder / "one"),
            "PostgreSQL": in_sql(server.url, folder / "two"),
        }
        conduits = {name: await started(stores) for name, stores in made.items()}
        texts = list(islice(prompts(1), requests))
        for conduit in conduits.values():
            await turn(conduit, texts)
        walls: dict[str, list[float]] = {name: [] for name in conduits}
        cpus: dict[str, list[float]] = {name: [] for name in conduits}
        draw = random.Random(1)
        for _ in range(rounds):
            for name in draw.sample(list(conduits), len(conduits)):
                wall, cpu = await turn(conduits[name], texts)
                walls[name].append(wall)
                cpus[name].append(cpu)
        for name in conduits:
            report(name, walls, cpus, requests)
        for conduit in conduits.values():
            await conduit.stop()


def report(name: str, walls: dict[str, list[float]], cpus: dict[str, list[float]], requests: int) -> None:
    ratios = [one / other for one, other in zip(walls["memory"], walls[name], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if name != "memory" else (1.0, 1.0, 1.0)
    by_cpu = statistics.median(one / other for one, other in zip(cpus["memory"], cpus[name], strict=True))
    more = [(other - one) / requests * 1e6 for one, other in zip(cpus["memory"], cpus[name], strict=True)]
    print(
        f"{name}: {requests / statistics.median(walls[name]):.0f} settled requests/s; against memory {middle:.3f} "
        f"(quartiles {low:.3f} .. {high:.3f}); by processor time {by_cpu:.3f}: "
        f"{statistics.median(cpus[name]) / requests * 1e6:.0f} us a request, {statistics.median(more):+.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=400)
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("--rounds: quartiles take two or more")
    uvloop.run(run(given.rounds, given.requests))


if __name__ == "__main__":
    main()
