"""What the gateway adds to a request: the same call straight to the upstream and through Conduit, in turn.

    python -m benchmarks.overhead [--requests 2000]

Everything is on: features, policy, ledger (SQLite file), learning. Concurrency 1; direct and routed requests alternate,
so that a drifting machine is the same for both. Prints both medians, their difference and ratio, and the gateway's
CPU time a request.
"""

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "Explain how a binary search tree stays balanced, with an example in Python. " * 13
BODY = orjson.dumps({"model": "auto", "messages": [{"role": "user", "content": PROMPT}]})
CONFIG = """
[providers.stub]
base_url = "http://127.0.0.1:{port}/v1"
"""
MODEL = """
[[models]]
name = "stub-{n}"
provider = "stub"
input_usd_per_mtok = {price}
output_usd_per_mtok = {price}
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextmanager
def server(app: str, port: int, folder: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A uvicorn of its own, up when this enters."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "error", "--no-access-log"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "error", "API_RATE_LIMIT": "0", **environ}
    process = subprocess.Popen(command, cwd=folder, env=env)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def ask(connection: http.client.HTTPConnection) -> float:
    """Seconds from request to the last byte."""
    started = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", BODY, {"content-type": "application/json"})
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        sys.exit(f"status {response.status}")
    return time.perf_counter() - started


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--models", type=int, default=5)
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        upstream, gateway = free_port(), free_port()
        models = "".join(MODEL.format(n=n, price=0.1 * 3**n) for n in range(args.models))
        Path(folder, "conduit.toml").write_text(CONFIG.format(port=upstream) + models)
        stack.enter_context(server("benchmarks.stub:app", upstream, str(ROOT)))
        process = stack.enter_context(server("conduit.api.app:app", gateway, folder))
        direct, routed = (http.client.HTTPConnection("127.0.0.1", port) for port in (upstream, gateway))
        for _ in range(200):
            ask(direct), ask(routed)
        before = cpu_s(process.pid)
        times = [(ask(direct), ask(routed)) for _ in range(args.requests)]
        cpu_us = (cpu_s(process.pid) - before) / args.requests * 1e6
    report([t[0] for t in times], [t[1] for t in times], cpu_us)


def report(direct: list[float], routed: list[float], cpu_us: float) -> None:
    for name, values in (("direct", direct), ("through Conduit", routed)):
        cuts = statistics.quantiles(values, n=100)
        print(f"{name:<16} p50 {cuts[49] * 1e3:7.3f} ms   p99 {cuts[98] * 1e3:7.3f} ms")
    d, r = statistics.median(direct), statistics.median(routed)
    print(f"{'added':<16} p50 {(r - d) * 1e3:7.3f} ms   ratio {r / d:.2f}   gateway CPU {cpu_us:.0f} us a request")


if __name__ == "__main__":
    main()
