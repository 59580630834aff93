"""The small costs: importing, starting, choosing, learning.

    python -m benchmarks.basics [--models 10]

Prompts have about 200 tokens. `choose` has its features made already, as a router has that is asked again; `all` makes
them too. In brackets: so many times a bare Starlette route, called in the same run, since a machine in its mood changes
microseconds by a factor of three. Start is from launching the process on the empty configuration to the first 200 of
/health/ready.
"""

import argparse
import asyncio
import http.client
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Route

from benchmarks.edge import BATCH, PATH, USUAL, answering, batch
from benchmarks.overhead import ROOT, free_port
from conduit import Model, Price, Router
from conduit.bandits.policy import Vector
from conduit.routing.features import TextFeatures

WORDS = ("the", "of", "a", "is", "function", "integral", "prove", "write", "poem", "table", "because", "market", "sum")


def prompts(count: int) -> list[str]:
    chance = random.Random(1)
    return [" ".join(chance.choice(WORDS) for _ in range(170)) for _ in range(count)]


class RefreshingValue(TextFeatures):
    """Each text is read once."""

    def __init__(self) -> None:
        self._known: dict[str, Vector] = {}

    def context(self, text: str) -> Vector:
        x = self._known.get(text)
        if x is None:
            x = self._known[text] = super().context(text)
        return x


def route_us() -> float:
    """CPU of one call of a bare route that reads its body: the least of 20 batches."""
    app = Starlette(routes=[Route(PATH, answering(USUAL), methods=["POST"])])
    return min(asyncio.run(batch(app.router, app))[0] for _ in range(20)) / BATCH * 1e6


def told(action: Callable[[int], object], count: int, route: float) -> str:
    """p50 and p99 of an action done so often."""
    times = []
    for i in range(count):
        started = time.perf_counter()
        action(i)
        times.append((time.perf_counter() - started) * 1e6)
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49]:7.0f} us [{cuts[49] / route:6.1f}]   p99 {cuts[98]:7.0f} us"


def import_ms() -> float:
    """Of `import conduit`, beyond what starting Python takes, the least of ten."""
    code = "import time; t = time.perf_counter(); import conduit; print((time.perf_counter() - t) * 1e3)"
    runs = (subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT) for _ in range(10))
    return min(float(run.stdout) for run in runs)


def start_s() -> float:
    with tempfile.TemporaryDirectory() as folder:
        port, started = free_port(), time.perf_counter()
        command = [sys.executable, "-m", "uvicorn", "conduit.api.app:app", "--port", str(port), "--log-level", "error"]
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "LOG_LEVEL": "error", "PYTHONPATH": str(ROOT)}
        )
        try:
            while not is_ready(port):
                time.sleep(0.005)
            return time.perf_counter() - started
        finally:
            process.terminate()
            process.wait(10)


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10)
    models = parser.parse_args().models
    offered = [Model(f"m{i}", "p", price=Price(0.1 * 2**i, 0.4 * 2**i)) for i in range(models)]
    router = Router(offered, seed=1, features=RefreshingValue())
    texts = prompts(2000)
    chance = random.Random(2)
    for text in texts:
        decision = router.choose(text)
        router.learn(
            decision.observation(quality=chance.random(), output_tokens=chance.randint(50, 900), latency_s=1.0)
        )
    seen = [router.choose(text).observation(quality=0.5, output_tokens=100.0, latency_s=1.0) for text in texts[:500]]
    print(f"import conduit     {import_ms():.1f} ms")
    print(f"start to ready     {min(start_s() for _ in range(3)):.2f} s (the least of three)")
    route, features = route_us(), TextFeatures()
    print(f"bare route         {route:.0f} us of CPU")
    print(f"features           {told(lambda i: features.context(texts[i]), 1000, route)}")
    print(f"choose, {models:>2} models  {told(lambda i: router.choose(texts[i]), 1000, route)}")
    router.features = features
    print(f"all, {models:>2} models     {told(lambda i: router.choose(texts[i]), 1000, route)}")
    print(f"fold               {told(lambda i: router.fold(seen[i]), 500, route)}")
    print(f"refresh            {told(lambda _: router.beliefs.refresh(), 20, route)}")


if __name__ == "__main__":
    main()
