"""/metrics against what clients counted, while a worker of four is killed.

    python -m benchmarks.scrape [--runs 5] [--seconds 6]

uvicorn with four workers (sandbox models that answer at once, SQLite) under 16 clients; two thirds of the way on, one
worker is killed -9, and uvicorn starts another. Compared before the killing (the clients pause for that), and after it:
`conduit_requests_total` of the route against answers that clients read to the end. A client whose connection is cut
between its request and the end of its answer cannot know whether it was counted; so many the two may differ.
Also wrk, before: it counts what it read, and its own last requests (at most one of each connection) it lets go.
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from benchmarks.clients import Client, Count, body, keep_asking
from benchmarks.overhead import ROOT, free_port

CLIENTS = 16
WORKERS = 4
ROUTE = "/v1/chat/completions"
SERIES = re.compile(r'^conduit_requests_total\{[^}]*route="/v1/chat/completions"[^}]*\} (\S+)$', re.MULTILINE)
STATUS = re.compile(r"^conduit_workers (\S+)$", re.MULTILINE)
WRK = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = [[{body}]]
"""


def start(port: int, folder: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "uvicorn", "conduit.api.app:app", "--port", str(port), "--workers", str(WORKERS)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "error", "API_RATE_LIMIT": "0", "SANDBOX": "on"}
    env["SANDBOX_TIME_SCALE"] = "0"
    return subprocess.Popen([*command, "--log-level", "critical", "--no-access-log"], cwd=folder, env=env)


def children(pid: int) -> list[int]:
    pids = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return [p for p in pids if b"resource_tracker" not in Path(f"/proc/{p}/cmdline").read_bytes()]


async def exposition(port: int) -> str:
    client = Client(port)
    await client.open()
    try:
        return (await client.get("/metrics")).content.decode()
    finally:
        await client.close()


async def counted(port: int) -> int:
    """Requests of the route, of all statuses, as /metrics has them."""
    return sum(int(float(value)) for value in SERIES.findall(await exposition(port)))


async def all_serve(port: int) -> None:
    """Returns when as many workers as there should be are counted."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            found = STATUS.findall(await exposition(port))
            if found and float(found[0]) == WORKERS:
                return
        await asyncio.sleep(0.1)


async def traffic(port: int, count: Count, seconds: float, *, kill: int | None = None) -> None:
    stop = asyncio.Event()
    clients = [Client(port) for _ in range(CLIENTS)]
    tasks = [asyncio.create_task(keep_asking(each, body(), count, stop)) for each in clients]
    await asyncio.sleep(seconds / 2)
    if kill is not None:
        os.kill(kill, signal.SIGKILL)
    await asyncio.sleep(seconds / 2)
    stop.set()
    await asyncio.gather(*tasks)
    for each in clients:
        await each.close()


def wrk(port: int, folder: str, seconds: int) -> int | None:
    """Answers that wrk read; None where there is no wrk."""
    if shutil.which("wrk") is None:
        return None
    script = Path(folder, "post.lua")
    script.write_text(WRK.format(body=body().decode()))
    command = ["wrk", "-t2", f"-c{CLIENTS}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}{ROUTE}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+) requests in", said)
    assert found is not None, said
    return int(found[1])


async def run(seconds: float) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        process = start(port, folder)
        try:
            await all_serve(port)
            count = Count()
            await traffic(port, count, seconds / 3)
            seen, before = sum(count.statuses.values()), await counted(port)
            exact = seen == before
            await traffic(port, count, seconds * 2 / 3, kill=children(process.pid)[0])
            await all_serve(port)
            seen_after, after = sum(count.statuses.values()), await counted(port)
            within = seen_after <= after <= seen_after + count.broken
            print(
                f"before: clients {seen:6d}  /metrics {before:6d}   after: clients {seen_after:6d}  "
                f"/metrics {after:6d}  cut {count.broken}  statuses {dict(count.statuses)}  "
                f"{'equal' if exact and within else 'DIFFERENT'}",
                flush=True,
            )
            read = await asyncio.to_thread(wrk, port, folder, max(1, int(seconds / 3)))
            if read is not None:
                while (last := await counted(port)) < after + read:  # noqa: ASYNC110  another process counts
                    await asyncio.sleep(0.05)
                more = last - after - read
                print(f"        wrk read {read}, /metrics {last - after}: {more} that wrk let go", flush=True)
                within = within and more <= CLIENTS
            return exact and within
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    args = parser.parse_args()
    good = sum(asyncio.run(run(args.seconds)) for _ in range(args.runs))
    print(f"{good} of {args.runs} runs equal")
    sys.exit(good != args.runs)


if __name__ == "__main__":
    main()
