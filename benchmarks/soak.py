"""As many requests as fit into a time, all different: does memory grow, or the number of open files?

    python -m benchmarks.soak [--minutes 20] [--connections 8] [--out soak.tsv]

One worker, its ledger in SQLite, and the stub in the place of providers; `wrk` asks. Memory (RSS), open descriptors and
threads are looked at every five seconds. Printed are their means in ten parts of the time, and the slope of memory over
the last three quarters, by least squares, with the error that the means of parts of it have about their own line:
neighbouring looks are no independent ones. `--out` keeps every look.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from time import monotonic, sleep

import numpy as np

from benchmarks.overhead import CONFIG, MODEL, ROOT, free_port, server

EVERY_S, PARTS, WARM = 5.0, 10, 0.25
SCRIPT = """
local n, me = 0, 0
local threads = 0
function setup(thread) threads = threads + 1; thread:set("me", threads) end
local words = {"tree", "river", "prove", "python", "explain", "why", "sum", "letter", "table", "sort", "verse", "price"}
function request()
  n = n + 1
  local text, seed = {}, n * 7919 + me * 104729
  for i = 1, 40 do seed = (seed * 1103515245 + 12345) % 2147483648; text[i] = words[seed % #words + 1] end
  local prompt = "Request " .. n .. " of " .. me .. ": " .. table.concat(text, " ")
  local body = '{"model": "auto", "messages": [{"role": "user", "content": "' .. prompt .. '"}]}'
  return wrk.format("POST", "/v1/chat/completions", {["content-type"] = "application/json"}, body)
end
function done(summary)
  local e = summary.errors
  print("errors " .. e.connect + e.read + e.write + e.timeout + e.status)
end
"""


@dataclass(frozen=True, slots=True)
class Look:
    seconds: float
    requests: float
    rss_kb: float
    descriptors: float
    threads: float


def look(pid: int, port: int, begun_s: float) -> Look:
    status = Path(f"/proc/{pid}/status").read_text()
    rss_kb, threads = (float(re.findall(rf"{name}:\s+(\d+)", status)[0]) for name in ("VmRSS", "Threads"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        told = answer.read().decode()
    requests = sum(map(float, re.findall(r"(?m)^conduit_requests_total\{[^\n]* ([0-9.e+]+)$", told)))
    return Look(monotonic() - begun_s, requests, rss_kb, len(list(Path(f"/proc/{pid}/fd").iterdir())), threads)


def run(minutes: float, connections: int) -> tuple[list[Look], str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak")))
        upstream, port = free_port(), free_port()
        models = "".join(MODEL.format(n=n, price=0.1 * 3**n) for n in range(5))
        (folder / "conduit.toml").write_text(CONFIG.format(port=upstream) + models)
        (folder / "soak.lua").write_text(SCRIPT)
        stack.enter_context(server("benchmarks.stub:app", upstream, str(ROOT)))
        gateway = stack.enter_context(server("conduit.api.app:app", port, str(folder)))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{minutes * 60:.0f}s", "--timeout", "30s", "-s", "soak.lua"]
        begun_s, looks = monotonic(), []
        with subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}"], cwd=folder, stdout=subprocess.PIPE, text=True
        ) as load:
            while load.poll() is None:
                looks.append(look(gateway.pid, port, begun_s))
                sleep(EVERY_S)
            assert load.stdout is not None
            return looks[:-1], load.stdout.read()  # the last one may have been taken when all was over


def slope(looks: Sequence[Look]) -> tuple[float, float]:
    """Bytes a request, and its standard error from the means of parts."""
    warm = [each for each in looks if each.seconds > WARM * looks[-1].seconds]
    parts = np.array_split(np.array([(each.requests, each.rss_kb * 1024.0) for each in warm]), PARTS)
    x, y = np.array([part.mean(axis=0) for part in parts]).T
    b, a = np.polyfit(x, y, 1)
    left = y - (a + b * x)
    return float(b), float(np.sqrt((left**2).sum() / (len(x) - 2) / ((x - x.mean()) ** 2).sum()))


def report(looks: Sequence[Look], said: str) -> None:
    print("minutes  requests  RSS MB  descriptors (most)  threads")
    for part in np.array_split(np.array([astuple(each) for each in looks]), PARTS):
        seconds, requests, rss, files, threads = part.mean(axis=0)
        most = part[:, 3].max()
        print(f"{seconds / 60:7.1f} {requests:9.0f} {rss / 1024:7.1f} {files:12.1f} ({most:.0f}) {threads:7.1f}")
    b, error = slope(looks)
    errors = re.findall(r"errors (\d+)", said)
    print(f"{looks[-1].requests:.0f} requests, errors {errors}; after warm-up {b:+.2f} +- {error:.2f} bytes a request")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    looks, said = run(given.minutes, given.connections)
    if given.out:
        lines = ["seconds\trequests\trss_kb\tdescriptors\tthreads"]
        lines += ["\t".join(f"{x:.1f}" for x in astuple(each)) for each in looks]
        given.out.write_text("\n".join(lines) + "\n")
    report(looks, said)
    if "errors 0" not in said:
        sys.exit(said)


if __name__ == "__main__":
    main()
