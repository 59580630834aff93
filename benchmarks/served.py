"""Requests a second of gateways that differ in where their ledger is: in memory, in SQLite, in PostgreSQL.

    python -m benchmarks.served [--rounds 8] [--seconds 8] [--connections 16]

Each is a process of its own (uvicorn, one worker), all ask the stub, and `wrk` asks one after the other in a new order
each round. An answer goes out when its decision and outcome are durable. Ratios to memory are of one round: their
median and quartiles are told. PostgreSQL runs on the same machine, with fsync on.
"""

import argparse
import random
import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.overhead import CONFIG, MODEL, ROOT, cpu_s, free_port, server
from benchmarks.soak import SCRIPT
from tests.support.postgres import PostgresServer

REAL, FORGETFUL = "conduit.api.app:app", "benchmarks.forgetful:app"


@contextmanager
def gateways() -> Iterator[Mapping[str, tuple[int, int]]]:
    """Name -> port and process."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="served")))
        upstream, urls = free_port(), {"memory": "", "SQLite": "sqlite:///conduit.db"}
        urls["PostgreSQL"] = stack.enter_context(PostgresServer(fsync=True)).url
        stack.enter_context(server("benchmarks.stub:app", upstream, str(ROOT)))
        models = "".join(MODEL.format(n=n, price=0.1 * 3**n) for n in range(5))
        found = {}
        for name, url in urls.items():
            folder, port = root / name, free_port()
            folder.mkdir()
            (folder / "conduit.toml").write_text(CONFIG.format(port=upstream) + models)
            more = {"PYTHONPATH": str(ROOT)} | ({"DATABASE_URL": url} if url else {})
            process = stack.enter_context(server(REAL if url else FORGETFUL, port, str(folder), **more))
            found[name] = port, process.pid
        yield found


def load(port: int, seconds: int, connections: int, folder: str) -> float:
    """Requests a second."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", "load.lua"]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"], cwd=folder, capture_output=True, text=True, check=True
    )
    if "errors 0" not in said.stdout:
        raise SystemExit(said.stdout)
    return float(re.findall(r"Requests/sec:\s+([0-9.]+)", said.stdout)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args()
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, gateways() as running:
        (Path(folder) / "load.lua").write_text(SCRIPT)
        rates: dict[str, list[float]] = {name: [] for name in running}
        cpus: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(given.rounds + 1):
            for name in draw.sample(list(running), len(running)):
                port, pid = running[name]
                before = cpu_s(pid)
                rates[name].append(load(port, given.seconds, given.connections, folder))
                cpus[name].append((cpu_s(pid) - before) / (rates[name][-1] * given.seconds) * 1e6)
    for name in running:  # the first round warms up
        ratios = [mine / memory for mine, memory in zip(rates[name][1:], rates["memory"][1:], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rate, cpu = statistics.median(rates[name][1:]), statistics.median(cpus[name][1:])
        print(
            f"{name:<10} {rate:7.0f} requests/s, CPU {cpu:5.0f} us a request; "
            f"against memory {middle:.3f} (quartiles {low:.3f} .. {high:.3f})"
        )


if __name__ == "__main__":
    main()
