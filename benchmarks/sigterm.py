"""SIGTERM under load: what was begun is ended, what was answered is in the ledger, and the exit is in order.

    python -m benchmarks.sigterm [--times 20] [--workers 4]

Each time anew: `conduit serve` with API_DRAIN_S=5 (or uvicorn with --workers), sandbox models, SQLite. 50 streams are
open and 8 clients ask one request after the other when SIGTERM comes. Of `conduit serve` the clients are a load
balancer's: they stop when /health/ready is 503, and until then nothing may be refused. Of uvicorn's workers, which
close kept-alive connections at once, they are told first, as preStop of Kubernetes does: a request that reaches such a
connection as it is closed would be cut, by HTTP/1.1's own rules. Wanted: all streams come to their `[DONE]`, no answer
is cut or is no 200, nothing is refused before the clients were told, each answer's decision has its outcome `answered`
in the ledger, and the exit code is 0.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.clients import BROKEN, Client, Count, body, keep_asking
from benchmarks.overhead import ROOT, free_port

STREAMS, CLIENTS = 50, 8
WARM_S, READY_WITHIN_S, END_WITHIN_S = 1.0, 120.0, 60.0
PATH = "/v1/chat/completions"
DONE = b"data: [DONE]"


def start(port: int, folder: str, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from conduit.cli import main; main()", "serve", "--port", str(port)]
    if workers > 1:
        command = [sys.executable, "-m", "uvicorn", "conduit.api.app:app", "--port", str(port)]
        command += ["--workers", str(workers), "--log-level", "critical", "--no-access-log"]
    settings = {"LOG_LEVEL": "error", "API_RATE_LIMIT": "0", "SANDBOX": "on", "SANDBOX_TIME_SCALE": "0.5"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "API_DRAIN_S": "5", **settings}
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)


async def status(port: int) -> int:
    """Of /health/ready; 0 when nobody answers."""
    client = Client(port)
    with suppress(OSError, *BROKEN):
        await client.open()
        try:
            return (await client.get("/health/ready")).status
        finally:
            await client.close()
    return 0


async def ready(port: int) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while await status(port) != 200:
        assert time.monotonic() < until, "it did not become ready"
        await asyncio.sleep(0.05)


async def one_stream(port: int, count: Count, opened: asyncio.Semaphore) -> bool:
    """Whether it came to its end. `opened` is released when its request is on the way."""
    client = Client(port)
    await client.open()
    asking = asyncio.create_task(client.post(PATH, body(stream=True, prompt=f"Write a long story. {id(client)}")))
    await asyncio.sleep(0)
    opened.release()
    try:
        reply = await asking
    except BROKEN:
        count.broken += 1
        return False
    finally:
        await client.close()
    count.took(reply, 0.0)
    return DONE in reply.content and b'"error"' not in reply.content


def answered(folder: str) -> set[str]:
    """Decisions whose outcome is in the ledger."""
    with sqlite3.connect(Path(folder, "conduit.db")) as ledger:
        rows = ledger.execute(
            "select d.id from decisions d join outcomes o on o.decision_id = d.id where o.status = 'answered'"
        )
        return {name for (name,) in rows}


async def told_to_end(port: int, process: subprocess.Popen[bytes], workers: int, stop: asyncio.Event) -> bool:
    """Sends the signal. Whether readiness said so, while it was still served."""
    if workers > 1:
        stop.set()
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        return True
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 10
    while (found := await status(port)) == 200 and time.monotonic() < until:  # noqa: ASYNC110  another process
        await asyncio.sleep(0.02)
    stop.set()
    return found == 503


async def run(workers: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        port, count, stop, opened = free_port(), Count(), asyncio.Event(), asyncio.Semaphore(0)
        process = start(port, folder, workers)
        try:
            await ready(port)
            asking = [asyncio.create_task(keep_asking(Client(port), body(), count, stop)) for _ in range(CLIENTS)]
            await asyncio.sleep(WARM_S)
            streams = [asyncio.create_task(one_stream(port, count, opened)) for _ in range(STREAMS)]
            for _ in range(STREAMS):
                await opened.acquire()
            await asyncio.sleep(0.3)
            open_now = sum(not each.done() for each in streams)
            noticed = await told_to_end(port, process, workers, stop)
            await asyncio.gather(*asking)
            whole = sum(await asyncio.gather(*streams))
            code = await asyncio.to_thread(process.wait, END_WITHIN_S)
        finally:
            if process.poll() is None:
                process.kill()
        lost = set(count.decisions) - answered(folder)
        statuses = dict(count.statuses)
        good = noticed and whole == STREAMS and not count.broken and not count.away and set(statuses) == {200}
        good = good and not lost and code == 0
        print(
            f"open {open_now:2d}  whole {whole:2d}  cut {count.broken}  refused {count.away}  statuses {statuses}  "
            f"503 seen {noticed}  rows lost {len(lost)}  exit {code}  {'good' if good else 'BAD'}",
            flush=True,
        )
        return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="1 is `conduit serve`, more are uvicorn's")
    args = parser.parse_args()
    good = sum(asyncio.run(run(args.workers)) for _ in range(args.times))
    print(f"{good} of {args.times} in order")
    sys.exit(good != args.times)


if __name__ == "__main__":
    main()
