"""Where PostgreSQL has enough: settled requests a second from more and more gateways that write to one server.

    python -m benchmarks.saturate [--seconds 5] [--writers 1 2 4 8 16]

Each writer is a ledger of its own, with its own connections and group commits, in this process; 32 requests of each are
under way: a decision, then its outcome with an observation, as the gateway appends them. A reader follows for each
writer, as every replica does (every 0.25 s). Processor time is that of PostgreSQL's processes and of this one for each
settled request; the latter is what the ledger costs a gateway, and not choosing or asking. fsync is on.
"""

import argparse
import asyncio
import os
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from conduit.gateway.learning.observations import lessons_of_outcome
from conduit.routing.decision import Candidate, Decision, Outcome, Status
from conduit.routing.features import TextFeatures
from conduit.routing.system import SystemClock, TimeOrderedIds
from conduit.stores.sql.ledger import SqlLedger
from tests.support.gateway import children
from tests.support.postgres import PostgresServer

UNDER_WAY = 32
TICKS = os.sysconf("SC_CLK_TCK")
MODELS = tuple(f"provider/model-{number}" for number in range(5))


def processor_s(pid: int) -> float:
    """Of a server and all its children, those included that have ended."""
    total = 0.0
    for each in (pid, *children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text("ascii").rpartition(")")[2].split()
        total += sum(map(int, fields[11 : 15 if each == pid else 13])) / TICKS
    return total


class Traffic:
    """Entries as the gateway makes them."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._ids, self._random = TimeOrderedIds(self._clock), np.random.default_rng(1)

    async def settled(self, ledger: SqlLedger) -> None:
        numbers = self._random.random(5).tolist()
        decision = Decision(
            id=self._ids.new("dec"),
            time_s=self._clock.now_s(),
            model=MODELS[0],
            propensity=0.2,
            candidates=tuple(Candidate(name, 0.2, *numbers) for name in MODELS),
            removed={},
            why="best expected utility, 0.123 above provider/model-1",
            policy="hierarchical",
            routed=True,
            context=self._random.random(TextFeatures.dimension),
            features=TextFeatures.version,
            domain="code",
            input_tokens=100,
        )
        recorded = ledger.append(decision)
        outcome = Outcome(decision.id, self._clock.now_s(), MODELS[0], Status.ANSWERED, (), 100, 200, cost_usd=0.001)
        await ledger.append(outcome, *lessons_of_outcome(decision, outcome))
        await recorded


async def follow(ledger: SqlLedger) -> None:
    position = 0
    while True:
        page = await ledger.observations(after=position, limit=200)
        position = page[-1][0] if page else position
        if len(page) < 200:
            await asyncio.sleep(0.25)


async def measured(url: str, writers: int, seconds: float, pid: int) -> str:
    ledgers = [SqlLedger(url) for _ in range(writers)]
    for ledger in ledgers:
        await ledger.open()
    traffic, settled, end_s = Traffic(), 0, perf_counter() + seconds

    async def caller(ledger: SqlLedger) -> None:
        nonlocal settled
        while perf_counter() < end_s:
            await traffic.settled(ledger)
            settled += 1

    followers = [asyncio.create_task(follow(ledger)) for ledger in ledgers]
    wall, own, server = perf_counter(), process_time(), processor_s(pid)
    await asyncio.gather(*(caller(ledger) for ledger in ledgers for _ in range(UNDER_WAY)))
    wall, own, server = perf_counter() - wall, process_time() - own, processor_s(pid) - server
    for follower in followers:
        follower.cancel()
    for ledger in ledgers:
        await ledger.close()
    each = [seconds / settled * 1e6 for seconds in (server, own)]
    return f"{writers:7} {settled / wall:9.0f} {server / wall:14.2f} {each[0]:19.0f} {each[1]:17.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options = parser.parse_args()
    print("writers settled/s  server's cores  server us/request  writers us/request")
    with PostgresServer(fsync=True) as server:
        pid = server.pid
        for writers in options.writers:
            print(asyncio.run(measured(server.url, writers, options.seconds, pid)), flush=True)


if __name__ == "__main__":
    main()
