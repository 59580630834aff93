"""What telemetry costs: the same requests through gateways that differ in nothing else, in turn, in one process.

    python -m benchmarks.telemetry [--requests 2000]

`none` counts and announces nothing; `counts` is as it comes (/metrics, notes for access lines); `10 %` and `100 %` also
send traces and metrics to a collector in another process. Of the last three the collector is away, never answers, or
answers 503. Requests are ASGI calls without sockets, over a scripted provider and a ledger in memory: what is compared
is small, and system calls are not. Access lines are not written (their level is error).

First each request's CPU, one to each gateway in turn, in an order that is drawn anew each time; what exports take is
measured apart and shared among the requests. Differences are of two requests of one turn. `route` is what the machine
is worth just then: a bare Starlette route that reads the same body. Then the time of each request while exports run
beside it.
"""

import argparse
import asyncio
import gc
import random
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.overhead import PROMPT, free_port, server
from conduit.api.app import create_app
from conduit.assemble import put_together
from conduit.assemble.stores import in_memory, trace_stores
from conduit.core.config import Settings, make_settings
from conduit.observability.logging.logs import setup_logs
from conduit.observability.setup import Telemetry
from conduit.observability.tracing.exporter import Exporter
from conduit.observability.tracing.instruments import TracedProvider
from conduit.providers.fleet import Fleet
from conduit.routing.catalogue import Catalogue, Model, Price
from conduit.routing.system import SystemClock
from conduit.stores.memory.ledger import MemoryLedger
from conduit.testing import ScriptedProvider, completion

MODELS = [Model(f"stub-{n}", "stub", price=Price(0.1 * 3**n, 0.1 * 3**n)) for n in range(5)]
BODY = orjson.dumps({"model": "auto", "messages": [{"role": "user", "content": PROMPT}]})
ON: dict[str, Any] = {"otel_enabled": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {},
    "counts": {},
    "10 %": {**ON, "otel_traces_sampler_arg": 0.1},
    "100 %": ON,
    "away": ON,
    "silent": ON,
    "refusing": ON,
}
COSTS = ("route", "none", "counts", "10 %", "100 %")
EXPORT_EVERY = 200
"""Requests; half a second of them at 400 a second."""
PATH = "/v1/chat/completions"
SCOPE = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "root_path": ""}
HEADERS = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


async def collect(scope: Any, receive: Any, send: Any) -> None:
    """A collector that reads everything and keeps nothing."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"].startswith("/silent"):
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    status = 503 if scope["path"].startswith("/refusing") else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def answer(request: Request) -> Response:
    await request.body()
    return Response(b"{}", media_type="application/json")


async def gateway(settings: Settings, stack: AsyncExitStack, *, heard: bool) -> Any:
    """The application, started; its telemetry with nobody listening unless it is to be `heard`."""
    app = create_app(settings, {})
    telemetry: Telemetry = app.state.telemetry
    await telemetry.start()
    stack.push_async_callback(telemetry.stop)
    if not heard:
        telemetry._ears = {}  # noqa: SLF001  no gateway of ours can be set up so
    tracer, ledger, provider = telemetry.tracer, MemoryLedger(), ScriptedProvider([completion()])
    providers = {"stub": provider if tracer is None else TracedProvider("stub", provider, tracer)}
    fleet = Fleet(Catalogue(MODELS), providers)
    stores = in_memory(ledger)
    if tracer is not None:
        trace_stores(stores, tracer, system="sqlite")
    conduit = put_together(settings, fleet, stores, clock=SystemClock(), listener=telemetry, tracer=tracer)
    app.state.conduit = conduit
    await conduit.start()
    for task in conduit._background:  # noqa: SLF001  the follower's learning would be counted as somebody's export
        task.cancel()
    stack.push_async_callback(conduit.stop)
    return app


async def ask(app: Any) -> None:
    pieces = [{"type": "http.request", "body": BODY, "more_body": False}]
    status = 0

    async def receive() -> Any:
        return pieces.pop() if pieces else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await app({**SCOPE, "headers": HEADERS, "client": ("127.0.0.1", 1)}, receive, send)
    assert status == 200, status


async def gateways(stack: AsyncExitStack, collector: int) -> dict[str, Any]:
    apps: dict[str, Any] = {"route": Starlette(routes=[Route(PATH, answer, methods=["POST"])])}
    for name, more in VARIANTS.items():
        port, path = (9, "") if name == "away" else (collector, f"/{name}" if name in {"silent", "refusing"} else "")
        endpoint = f"http://127.0.0.1:{port}{path}"
        usual = {"sandbox": "on", "follow_interval_s": 60, "api_rate_limit": 0}
        file = {**usual, "otel_exporter_otlp_endpoint": endpoint, **more}
        apps[name] = await gateway(make_settings(file=file, environ={}), stack, heard=name != "none")
        for _ in range(100):
            await ask(apps[name])
    return apps


@dataclass(slots=True)
class Cost:
    """Microseconds of CPU: of each request, and what exports took, shared among them."""

    each: list[float] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    exports: float = 0.0

    def above(self, other: "Cost", q: float) -> float:
        """The quantile `q` of what a request took more; those that were sampled and the others by their share, for a
        quantile of all would not see the few."""
        pairs = list(zip(self.each, other.each, self.sampled, strict=True))
        kinds = [[one - it for one, it, sampled in pairs if sampled is kind] for kind in (True, False)]
        return self.exports + sum(quantile(kind, q) * len(kind) / len(pairs) for kind in kinds if kind)


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[int(q * (len(values) - 1))]


async def costs(apps: dict[str, Any], requests: int) -> dict[str, Cost]:
    found = {name: Cost() for name in COSTS}
    draw, names = random.Random(1), list(COSTS)
    for i in range(requests):
        for name in draw.sample(names, len(names)):
            exporter, cost = exporter_of(apps[name]), found[name]
            waited = 0 if exporter is None else exporter.waiting
            started = time.process_time_ns()
            await ask(apps[name])
            await asyncio.sleep(0)  # what it has left to be called back, or the next would pay for it
            await asyncio.sleep(0)
            cost.each.append((time.process_time_ns() - started) / 1e3)
            cost.sampled.append(exporter is not None and exporter.waiting > waited)
        if i % EXPORT_EVERY == 0 or i == requests - 1:
            for name in COSTS:
                found[name].exports += await _exported(apps[name]) / requests
    return found


def exporter_of(app: Any) -> Exporter | None:
    telemetry: Telemetry | None = getattr(app.state, "telemetry", None)
    return None if telemetry is None else telemetry._exporter  # noqa: SLF001


async def _exported(app: Any) -> float:
    """Microseconds of CPU of sending all that waits."""
    exporter = exporter_of(app)
    started = time.process_time_ns()
    if exporter is not None:
        await exporter.send_spans()
    return (time.process_time_ns() - started) / 1e3


async def times(apps: dict[str, Any], requests: int) -> dict[str, list[float]]:
    """Milliseconds of each request."""
    found: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(requests):
        for name, app in apps.items():
            started = time.perf_counter()
            await ask(app)
            found[name].append((time.perf_counter() - started) * 1e3)
            await asyncio.sleep(0)
    return found


async def run(requests: int, collector: int) -> None:
    async with AsyncExitStack() as stack:
        apps = await gateways(stack, collector)
        exporters = [each for each in map(exporter_of, apps.values()) if each is not None]
        for exporter in exporters:
            await exporter.pause()
        gc.collect()
        gc.freeze()
        report_costs(await costs(apps, requests))
        for exporter in exporters:
            exporter.start()
        report_times(await times({name: app for name, app in apps.items() if name != "route"}, requests))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="to each gateway")
    args = parser.parse_args()
    setup_logs(level="error", form="json")
    collector = free_port()
    with tempfile.TemporaryDirectory() as folder, server("benchmarks.telemetry:collect", collector, folder):
        asyncio.run(run(args.requests, collector))


def report_costs(found: dict[str, Cost]) -> None:
    """Medians, the quartiles of paired differences, and how they are to a bare route of the same turns."""
    route, none = statistics.median(found.pop("route").each), found["none"]
    print(f"a bare route: {route:.0f} us of CPU")
    print(f"{'':<9}{'CPU us a request':>17}{'above none (quartiles)':>26}{'of it exports':>15}{'above, in routes':>18}")
    for name, cost in found.items():
        low, middle, high = (cost.above(none, q) for q in (0.25, 0.5, 0.75))
        cpu, spread = statistics.median(cost.each) + cost.exports, f"{middle:.0f} ({low:.0f} to {high:.0f})"
        print(f"{name:<9}{cpu:>17.0f}{spread:>26}{cost.exports:>15.0f}{middle / route:>18.2f}")


def report_times(found: dict[str, list[float]]) -> None:
    print(f"\n{'':<9}{'p50 ms':>8}{'p99 ms':>8}{'p99 over that of none':>24}")
    for name, each in found.items():
        cuts, none = statistics.quantiles(each, n=100), statistics.quantiles(found["none"], n=100)
        print(f"{name:<9}{cuts[49]:>8.3f}{cuts[98]:>8.3f}{cuts[98] / none[98]:>24.2f}")


if __name__ == "__main__":
    main()
