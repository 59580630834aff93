"""A load test of the whole gateway: authentication on, limits on, learning on.

    python -m benchmarks.load [--seconds 15] [--clients 16] [--rate 25]

Three servers in turn, under the same clients (one process, connections kept alive, prompts that differ): a bare ASGI
application that answers at once, for what the machine and the clients can do; one worker of Conduit on SQLite, with
limits in the process; two workers on PostgreSQL (fsync on) and Valkey. Callers have a key; requests, tokens and
requests at once are counted against limits that nobody reaches; access lines are written; every fifth answer is rated,
which teaches. The upstream answers at once, so that what is measured is the gateway's.

First as fast as the clients can (`requests/s`), then requests that come at the same rate to all three, whatever became
of those before, timed from when they were due (`p50`, `p99`). Wanted, or the exit code is 1: no answer but 200, no
rating refused, as many counted by /metrics as by the clients, and observations folded.
"""

import argparse
import asyncio
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import orjson

from benchmarks.clients import BROKEN, Client, Count, body
from benchmarks.overhead import CONFIG, MODEL, ROOT, cpu_s, free_port, server
from benchmarks.scrape import children, counted
from conduit.bench.prompts import prompts
from tests.support.postgres import PostgresServer
from tests.support.valkey import ValkeyServer

KEY = "operators-own-key"
LIMITS = {"API_RATE_LIMIT": "10000000", "API_TOKEN_LIMIT": "1000000000", "API_CONCURRENT_LIMIT": "10000"}
MODELS = 5
WARM_S = 3.0
RATED = 0.2
PATH = "/v1/chat/completions"
FOLDED = re.compile(r"^conduit_follower_position (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Served:
    """One server under test. `pid` is of the process that was started, which may have workers."""

    name: str
    port: int
    pid: int
    learns: bool = True

    @property
    def processes(self) -> list[int]:
        return [self.pid, *children(self.pid)]

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.processes))

    def memory_mb(self) -> float:
        """The largest that any of its processes has been."""
        said = (Path(f"/proc/{pid}/status").read_text() for pid in self.processes)
        return max(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) for text in said) / 1024


class Crowd:
    """Callers of one server, each with a connection; what they saw is in `count`, of ratings in `ratings`."""

    def __init__(self, served: Served, clients: int) -> None:
        self._served, self._draw = served, random.Random(1)
        self._bodies = cycle([body(prompt=text) for text in islice(prompts(1), 500)])
        self._idle: asyncio.Queue[Client] = asyncio.Queue()
        for _ in range(clients):
            self._idle.put_nowait(Client(served.port, headers=f"authorization: Bearer {KEY}\r\n"))
        self.clients = clients
        self.count, self.ratings = Count(), Count()

    async def open(self) -> None:
        """One after the other: of many that come at once one worker may take all."""
        for _ in range(self.clients):
            client = await self._idle.get()
            await client.open()
            self._idle.put_nowait(client)
            await asyncio.sleep(0.02)

    async def flat_out(self, seconds: float) -> float:
        """Answers a second."""
        until, before, started = time.perf_counter() + seconds, self.count.statuses.total(), time.perf_counter()

        async def caller() -> None:
            while (now := time.perf_counter()) < until:
                await self._ask(now)

        await asyncio.gather(*(caller() for _ in range(self.clients)))
        return (self.count.statuses.total() - before) / (time.perf_counter() - started)

    async def paced(self, rate: float, seconds: float) -> list[float]:
        """Seconds of each answer since its request was due."""
        begun, before, asking = time.perf_counter(), len(self.count.seconds), []
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asking.append(asyncio.create_task(self._ask(due)))
        await asyncio.gather(*asking)
        return self.count.seconds[before:]

    async def _ask(self, due: float) -> None:
        client = await self._idle.get()
        try:
            if not client.is_open:
                await client.open()
            reply = await client.post(PATH, next(self._bodies))
            self.count.took(reply, time.perf_counter() - due)
            if self._served.learns and self._draw.random() < RATED:
                said = {"response_id": reply.headers["x-conduit-decision"], "quality_score": self._draw.random()}
                self.ratings.took(await client.post("/v1/feedback", orjson.dumps(said)), 0.0)
        except BROKEN:
            self.count.broken += 1
            await client.close()
        finally:
            self._idle.put_nowait(client)


@contextmanager
def conduit(name: str, folder: Path, upstream: int, *, workers: int, **environ: str) -> Iterator[Served]:
    """Started, and every worker of it serving."""
    folder.mkdir()
    models = "".join(MODEL.format(n=n, price=0.1 * 3**n) for n in range(MODELS))
    (folder / "conduit.toml").write_text(CONFIG.format(port=upstream) + models)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "conduit.api.app:app", "--port", str(port), "--workers", str(workers)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "API_KEY": KEY, "API_REQUIRE_AUTH": "true", **LIMITS, **environ}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--log-level", "warning"], cwd=folder, env=env, stderr=log)
    try:
        asyncio.run(all_serve(port, workers))
        yield Served(name, port, process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def all_serve(port: int, workers: int) -> None:
    wanted = re.compile(rf"^conduit_workers {workers}$", re.MULTILINE)
    until = time.monotonic() + 60
    while not wanted.search(await exposition(port)):
        assert time.monotonic() < until, "it did not start"
        await asyncio.sleep(0.1)


async def exposition(port: int) -> str:
    """Empty while nobody answers."""
    client = Client(port)
    try:
        await client.open()
        return (await client.get("/metrics")).content.decode()
    except (OSError, *BROKEN):
        return ""
    finally:
        await client.close()


async def settled(port: int, sent: int) -> int:
    """What /metrics counts; the last answers may have been read a moment before they are counted."""
    until = time.monotonic() + 2
    while (told := await counted(port)) != sent and time.monotonic() < until:  # noqa: ASYNC110  another process
        await asyncio.sleep(0.05)
    return told


async def faults(served: Served, crowd: Crowd) -> list[str]:
    """What is not as it should be."""
    sent, found = crowd.count.statuses.total(), []
    wrong = {**{s: n for s, n in crowd.count.statuses.items() if s != 200}, **crowd.ratings.statuses}
    wrong.pop(200, None)
    if wrong or crowd.count.broken:
        found.append(f"statuses {wrong}, cut {crowd.count.broken}")
    if served.learns:
        if (told := await settled(served.port, sent)) != sent:
            found.append(f"/metrics counts {told}, the clients {sent}")
        if not any(float(position) for position in FOLDED.findall(await exposition(served.port))):
            found.append("nothing was folded")
    return found


async def measure(served: Served, *, clients: int, seconds: float, pace: float) -> list[str]:
    crowd = Crowd(served, clients)
    await crowd.open()
    await crowd.flat_out(WARM_S)
    before, done = served.cpu_s(), crowd.count.statuses.total()
    rate = await crowd.flat_out(seconds)
    cpu_us = (served.cpu_s() - before) / (crowd.count.statuses.total() - done) * 1e6
    cuts = statistics.quantiles(await crowd.paced(pace, seconds), n=100)
    wrong = await faults(served, crowd)
    print(
        f"| {served.name} | {rate:.0f} | {cpu_us:.0f} | {cuts[49] * 1e3:.2f} | {cuts[98] * 1e3:.2f} | "
        f"{served.memory_mb():.0f} | {crowd.count.statuses.total()} | {crowd.ratings.statuses.total()} | "
        f"{'; '.join(wrong) or 'none'} |",
        flush=True,
    )
    return wrong


def shared(stack: ExitStack) -> Mapping[str, str]:
    """Settings of a database and a Redis of their own."""
    database, redis = stack.enter_context(PostgresServer(fsync=True)), stack.enter_context(ValkeyServer())
    return {"DATABASE_URL": database.url, "REDIS_URL": redis.url}


def machine() -> str:
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each of the two parts")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rate", type=float, default=25.0, help="requests a second of the second part")
    args = parser.parse_args()
    how = {"clients": args.clients, "seconds": args.seconds, "pace": args.rate}
    print(f"{machine()}; load average before {os.getloadavg()[0]:.1f}\n")
    print("| | requests/s | CPU us a request | p50 ms | p99 ms | MB a process | answers | ratings | faults |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    wrong: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load")))
        upstream = free_port()
        stub = stack.enter_context(server("benchmarks.stub:app", upstream, str(ROOT)))
        bare = Served("a bare application", upstream, stub.pid, learns=False)
        asyncio.run(measure(bare, **how))
        rows: list[tuple[str, int, Mapping[str, str]]]
        rows = [("one worker, SQLite", 1, {}), ("two workers, PostgreSQL and Valkey", 2, shared(stack))]
        for name, workers, settings in rows:
            with conduit(name, folder / str(workers), upstream, workers=workers, **settings) as served:
                wrong += asyncio.run(measure(served, **how))
    print(f"\nload average after {os.getloadavg()[0]:.1f}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
