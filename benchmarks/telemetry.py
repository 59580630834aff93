"""What telemetry costs: the same requests to gateways that differ in nothing else, in turn, in one run.

    python -m benchmarks.telemetry [--requests 2000] [--rounds 5]

Gateways: `none` counts and announces nothing; `counts` is as it comes (/metrics, notes for access lines); `10 %` and
`100 %` send traces and metrics to a collector on this machine, which reads and answers; `silent` is 100 % to one that
never answers. Nobody learns meanwhile (FOLLOW_INTERVAL_S=60), since that costs much
more at first than later; access lines are not written (LOG_LEVEL=error). CPU is that of all threads of the gateway,
exports included, from the kernel's own account; the median of the rounds, and their range.
"""

import argparse
import http.client
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.overhead import CONFIG, MODEL, ROOT, ask, free_port, server

VARIANTS = {
    "none": {},
    "counts": {},
    "10 %": {"OTEL_ENABLED": "true", "OTEL_TRACES_SAMPLER_ARG": "0.1"},
    "100 %": {"OTEL_ENABLED": "true"},
    "silent": {"OTEL_ENABLED": "true"},
}
MODELS = 5


def bare() -> Any:
    """The application with nobody listening."""
    from conduit.api.app import create_app, read_environ, read_settings

    environ = read_environ()
    app = create_app(read_settings(environ), environ)
    telemetry = app.state.telemetry
    telemetry._listen = lambda *_: None  # noqa: SLF001  no gateway of ours can be set up so
    telemetry._ears = {}  # noqa: SLF001
    return app


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
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def cpu_s(pid: int) -> float:
    """Seconds on a processor, of all threads that live."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="to each gateway, a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with ExitStack() as stack:
        pids, lines = _gateways(stack)
        for _ in range(300):
            for line in lines.values():
                ask(line)
        rounds = [_round(pids, lines, args.requests) for _ in range(args.rounds)]
    _report(rounds)


def _gateways(stack: ExitStack) -> tuple[dict[str, int], dict[str, http.client.HTTPConnection]]:
    upstream, collector = free_port(), free_port()
    stack.enter_context(server("benchmarks.stub:app", upstream, str(ROOT)))
    stack.enter_context(server("benchmarks.telemetry:collect", collector, str(ROOT)))
    models = "".join(MODEL.format(n=n, price=0.1 * 3**n) for n in range(MODELS))
    pids, lines = {}, {}
    for name, env in VARIANTS.items():
        folder, port = stack.enter_context(tempfile.TemporaryDirectory()), free_port()
        Path(folder, "conduit.toml").write_text(CONFIG.format(port=upstream) + models)
        endpoint = f"http://127.0.0.1:{collector}" + ("/silent" if name == "silent" else "")
        app = "benchmarks.telemetry:bare" if name == "none" else "conduit.api.app:app"
        more = {**env, "FOLLOW_INTERVAL_S": "60", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "API_RATE_LIMIT": "1000000"}
        process = stack.enter_context(server(app, port, folder, **more))
        pids[name], lines[name] = process.pid, http.client.HTTPConnection("127.0.0.1", port)
    return pids, lines


def _round(
    pids: dict[str, int], lines: dict[str, http.client.HTTPConnection], requests: int
) -> dict[str, tuple[float, list[float]]]:
    """CPU seconds and the times of each request; one request to each gateway in turn."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    times: dict[str, list[float]] = {name: [] for name in pids}
    for _ in range(requests):
        for name, line in lines.items():
            times[name].append(ask(line))
    return {name: (cpu_s(pid) - before[name], times[name]) for name, pid in pids.items()}


def _report(rounds: list[dict[str, tuple[float, list[float]]]]) -> None:
    print(
        f"{'':<8} {'CPU us a request':>17} {'above none: median (range)':>30} {'ratio':>6} {'p50 ms':>7} {'p99 ms':>7}"
    )
    for name in VARIANTS:
        cpu = [r[name][0] / len(r[name][1]) * 1e6 for r in rounds]
        none = [r["none"][0] / len(r["none"][1]) * 1e6 for r in rounds]
        above = [one - other for one, other in zip(cpu, none, strict=True)]
        cuts = statistics.quantiles((t for r in rounds for t in r[name][1]), n=100)
        spread = f"{statistics.median(above):.0f} ({min(above):.0f} to {max(above):.0f})"
        ratio = statistics.median(one / other for one, other in zip(cpu, none, strict=True))
        print(
            f"{name:<8} {statistics.median(cpu):>17.0f} {spread:>30} {ratio:>6.3f} "
            f"{cuts[49] * 1e3:>7.3f} {cuts[98] * 1e3:>7.3f}"
        )


if __name__ == "__main__":
    main()
