"""The CPU that a request costs in this build, against another checkout's, in pairs.

    python -m benchmarks.builds --other ../conduit-before/.venv/bin/python [--rounds 10] [--requests 400]

Two gateways, each a process of its own build, ask one stub provider. Each round puts the same load on one and then on
the other, in an order that is drawn; the ratio is of one round, and its median and quartiles are told. CPU is the
operating system's count of the whole process. Everything is on: an API key, a limit of requests, SQLite, access lines.
"""

import argparse
import asyncio
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson

from benchmarks.overhead import CONFIG, MODEL, PROMPT, ROOT, cpu_s, free_port, server

KEY = "sk-benchmark-0123456789abcdef"
WITHIN_S = 30.0
LOADS: Mapping[str, tuple[int, dict[str, object]]] = {
    "auto, 16 at once": (16, {"model": "auto"}),
    "auto, one after another": (1, {"model": "auto"}),
    "named, 16 at once": (16, {"model": "stub-0"}),
    "a stream, 16 at once": (16, {"model": "auto", "stream": True}),
}


@contextmanager
def gateway(python: str, folder: Path, upstream: int) -> Iterator[tuple[int, int]]:
    """Port and process of a gateway that this Python serves."""
    folder.mkdir()
    models = "".join(MODEL.format(n=n, price=0.1 * 3**n) for n in range(5))
    (folder / "conduit.toml").write_text(CONFIG.format(port=upstream) + models)
    port = free_port()
    command = [python, "-m", "uvicorn", "conduit.api.app:app", "--port", str(port), "--no-access-log"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "API_KEY": KEY, "API_RATE_LIMIT": "1000000000"}
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=said)
    try:
        asyncio.run(_up(port))
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)


async def _up(port: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def load(port: int, count: int, connections: int, more: Mapping[str, object]) -> None:
    """So many requests, over so many connections that are kept open. Ends the program where one is not answered."""
    body = orjson.dumps({"messages": [{"role": "user", "content": PROMPT}], **more})
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"authorization: Bearer {KEY}",
        f"content-length: {len(body)}",
    ]
    request, left = "\r\n".join([*lines, "", ""]).encode() + body, iter(range(count))

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(request)
            await _answer(reader)
        writer.close()

    await asyncio.gather(*(caller() for _ in range(connections)))


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        sys.exit(head.decode())
    length = re.search(rb"content-length: (\d+)", head)
    if length is not None:
        await reader.readexactly(int(length[1]))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


def measured(port: int, pid: int, count: int, connections: int, more: Mapping[str, object]) -> float:
    """CPU microseconds a request."""
    before = cpu_s(pid)
    asyncio.run(load(port, count, connections, more))
    return (cpu_s(pid) - before) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", required=True, help="the Python of the other checkout's environment")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=400)
    given, draw = parser.parse_args(), random.Random(1)
    with ExitStack() as stack:
        root, upstream = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="builds"))), free_port()
        stack.enter_context(server("benchmarks.stub:app", upstream, str(ROOT)))
        builds = {
            "this": stack.enter_context(gateway(sys.executable, root / "this", upstream)),
            "other": stack.enter_context(gateway(given.other, root / "other", upstream)),
        }
        for name, (connections, more) in LOADS.items():
            used: dict[str, list[float]] = {build: [] for build in builds}
            for _ in range(given.rounds + 1):
                for build in draw.sample(list(builds), len(builds)):
                    used[build].append(measured(*builds[build], given.requests, connections, more))
            ratios = [this / other for this, other in zip(used["this"][1:], used["other"][1:], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            this, other = (min(used[build][1:]) for build in ("this", "other"))
            print(f"{name:<24} {middle:.3f} ({low:.3f} to {high:.3f})   least {this:5.0f} and {other:5.0f} us")


if __name__ == "__main__":
    main()
