"""What telemetry costs: the same requests through gateways that differ in nothing else, in turn, in one process.

    python -m benchmarks.telemetry [--requests 2000]

`none` counts and announces nothing; `counts` is as it comes (/metrics, notes for access lines); `10 %` and `100 %` also
send traces and metrics to a collector in another process. Of the last three the collector is away, never answers, or
answers 503. Requests are ASGI calls without sockets, over a scripted provider and a ledger in memory: what is compared
is small, and system calls are not. Access lines are not written (their level is error).

First each request's CPU, one to each gateway in turn, in an order that changes; what exports take is measured apart and
shared among the requests. Differences are of two requests that stood next to each other. Then the time of each request
while exports run beside it.
"""

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from typing import Any

import orjson

from benchmarks.overhead import PROMPT, free_port, server
from conduit.api.app import create_app
from conduit.assemble import put_together
from conduit.core.catalogue import Catalogue, Model, Price
from conduit.core.config import Settings, make_settings
from conduit.core.system import SystemClock
from conduit.observability.instruments import TracedProvider, traced_store
from conduit.observability.logs import setup_logs
from conduit.observability.setup import Telemetry
from conduit.providers.fleet import Fleet
from conduit.providers.session import SharedSession
from conduit.stores.answers import MemoryAnswers
from conduit.stores.holds import MemoryHolds
from conduit.stores.keys import MemoryKeyStore
from conduit.stores.memory import MemoryLedger
from conduit.stores.purse import MemoryPurse
from conduit.stores.snapshots import MemorySnapshots
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
COSTS = ("none", "counts", "10 %", "100 %")
EXPORT_EVERY = 200
"""Requests; half a second of them at 400 a second."""
SCOPE = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "root_path": ""}
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
    fleet = Fleet(Catalogue(MODELS), providers, {}, SharedSession())
    kept = ledger if tracer is None else traced_store(ledger, tracer, system="sqlite")
    stores = kept, MemoryPurse(), MemoryKeyStore(), MemorySnapshots(), MemoryHolds(), MemoryAnswers()
    conduit = put_together(settings, fleet, stores, clock=SystemClock(), listener=telemetry, tracer=tracer)
    app.state.conduit = conduit
    await conduit.start()
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
    apps = {}
    for name, more in VARIANTS.items():
        port, path = (9, "") if name == "away" else (collector, f"/{name}" if name in {"silent", "refusing"} else "")
        endpoint = f"http://127.0.0.1:{port}{path}"
        usual = {"sandbox": "on", "follow_interval_s": 60, "api_rate_limit": 0}
        file = {**usual, "otel_exporter_otlp_endpoint": endpoint, **more}
        apps[name] = await gateway(make_settings(file=file, environ={}), stack, heard=name != "none")
        for _ in range(100):
            await ask(apps[name])
    return apps


async def costs(apps: dict[str, Any], requests: int) -> dict[str, list[float]]:
    """Microseconds of CPU of each request, its share of the exports included."""
    found: dict[str, list[float]] = {name: [] for name in COSTS}
    exports = dict.fromkeys(COSTS, 0.0)
    for i in range(requests):
        for name in sorted(COSTS, key=lambda n: (COSTS.index(n) * 3 + i) % len(COSTS)):
            started = time.process_time_ns()
            await ask(apps[name])
            found[name].append((time.process_time_ns() - started) / 1e3)
        if i % EXPORT_EVERY == 0 or i == requests - 1:
            for name in COSTS:
                exports[name] += await _exported(apps[name])
    return {name: [cpu + exports[name] / requests for cpu in found[name]] for name in COSTS}


async def _exported(app: Any) -> float:
    """Microseconds of CPU of sending all that waits."""
    exporter = app.state.telemetry._exporter  # noqa: SLF001
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
        for app in apps.values():
            if app.state.telemetry._exporter is not None:  # noqa: SLF001
                await app.state.telemetry._exporter.pause()  # noqa: SLF001
        gc.collect()
        gc.freeze()
        report_costs(await costs(apps, requests))
        for app in apps.values():
            if app.state.telemetry._exporter is not None:  # noqa: SLF001
                app.state.telemetry._exporter.start()  # noqa: SLF001
        report_times(await times(apps, requests))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="to each gateway")
    args = parser.parse_args()
    setup_logs(level="error", form="json")
    collector = free_port()
    with tempfile.TemporaryDirectory() as folder, server("benchmarks.telemetry:collect", collector, folder):
        asyncio.run(run(args.requests, collector))


def report_costs(found: dict[str, list[float]]) -> None:
    """Medians, and the quartiles of paired differences."""
    print(f"{'':<9}{'CPU us a request':>17}{'above none (quartiles)':>26}{'ratio':>8}")
    for name, cpu in found.items():
        above = [one - other for one, other in zip(cpu, found["none"], strict=True)]
        low, middle, high = statistics.quantiles(above, n=4)
        ratio = statistics.median(one / other for one, other in zip(cpu, found["none"], strict=True))
        print(f"{name:<9}{statistics.median(cpu):>17.0f}{f'{middle:.0f} ({low:.0f} to {high:.0f})':>26}{ratio:>8.3f}")


def report_times(found: dict[str, list[float]]) -> None:
    print(f"\n{'':<9}{'p50 ms':>8}{'p99 ms':>8}{'p99 over that of none':>24}")
    for name, each in found.items():
        cuts, none = statistics.quantiles(each, n=100), statistics.quantiles(found["none"], n=100)
        print(f"{name:<9}{cuts[49]:>8.3f}{cuts[98]:>8.3f}{cuts[98] / none[98]:>24.2f}")


if __name__ == "__main__":
    main()
