"""What gateways need goes away under load, and comes back: answers go on, nothing is lost, feedback is kept or refused.

    python -m benchmarks.outage postgresql|redis|network|redis-network|provider-network [--seconds 30]

`postgresql` and `redis` kill the server of two gateways for so long; `network` puts a proxy before PostgreSQL that
stalls, delays, resets, and resets in mid-commit, before and after it was delivered; the other two put one before Redis,
and before one of two providers, that stalls, delays, and resets in the midst of answers.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.traffic import Heard, Traffic
from benchmarks.witness import CLOSE, Witness
from tests.support.fault_proxy import FaultProxy
from tests.support.gateway import GatewayProcess, until
from tests.support.postgres import Postgres, PostgresServer
from tests.support.upstream import FakeUpstream
from tests.support.valkey import ValkeyServer

ENV = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
ENV |= {"SANDBOX_TIME_SCALE": "0", "FOLLOW_INTERVAL_S": "0.05", "LOG_LEVEL": "error"}
ENV |= {"FEEDBACK_WEIGHT_PER_HOUR": "1000000000", "API_RATE_LIMIT": "1000000", "UPSTREAM_TIMEOUT_S": "2"}
CALM_S = 4.0


@dataclass(frozen=True)
class World:
    """What the gateways need, and the proxies between."""

    server: PostgresServer
    valkey: ValkeyServer
    database_link: FaultProxy
    redis_link: FaultProxy
    provider_link: FaultProxy


def postgresql(world: World, seconds: float) -> Iterator[str]:
    world.server.kill()
    yield f"PostgreSQL killed for {seconds:g} s"
    sleep(seconds)
    world.server.start()


def redis(world: World, seconds: float) -> Iterator[str]:
    world.valkey.kill()
    yield f"Valkey killed for {seconds:g} s"
    sleep(seconds)
    world.valkey.start()


def network(world: World, seconds: float) -> Iterator[str]:
    each_s, proxy = seconds / 5.0, world.database_link
    yield f"PostgreSQL stalled, 50 ms late, reset, reset before and after a commit, {each_s:g} s each"
    _stalled_and_late(proxy, each_s, 0.05)
    _again_and_again(proxy.cut, each_s)
    _again_and_again(lambda: proxy.cut_at(b"COMMIT", delivered=False), each_s)
    _again_and_again(lambda: proxy.cut_at(b"COMMIT", delivered=True), each_s)


def redis_network(world: World, seconds: float) -> Iterator[str]:
    yield from _link("Valkey", world.redis_link, seconds)


def provider_network(world: World, seconds: float) -> Iterator[str]:
    yield from _link("one provider of two", world.provider_link, seconds)


def _link(name: str, proxy: FaultProxy, seconds: float) -> Iterator[str]:
    each_s = seconds / 4.0
    yield f"{name} stalled, 30 ms late, reset while late, reset, {each_s:g} s each"
    _stalled_and_late(proxy, each_s, 0.03)
    proxy.latency_s = 0.03
    _again_and_again(proxy.cut, each_s)
    proxy.latency_s = 0.0
    _again_and_again(proxy.cut, each_s)


def _stalled_and_late(proxy: FaultProxy, each_s: float, latency_s: float) -> None:
    proxy.stall()
    sleep(each_s)
    proxy.flow()
    proxy.latency_s = latency_s
    sleep(each_s)
    proxy.latency_s = 0.0


def _again_and_again(fault: Callable[[], None], seconds: float) -> None:
    for _ in range(int(seconds / 0.25)):
        fault()
        sleep(0.25)


Fault = Callable[[World, float], Iterator[str]]
FAULTS: dict[str, Fault] = {
    "postgresql": postgresql,
    "redis": redis,
    "network": network,
    "redis-network": redis_network,
    "provider-network": provider_network,
}
PROVIDERS = """
[providers.far]
base_url = "{far}"

[providers.near]
base_url = "{near}"
"""
MODEL = """
[[models]]
name = "{name}"
provider = "{name}"
input_usd_per_mtok = 1.0
output_usd_per_mtok = 1.0
"""
"""Two that cost the same, so that both are asked."""


def drained(process: GatewayProcess) -> bool:
    reply = process.get("/health/ready")
    return reply.status == 200 and reply.json["checks"]["spool"] == "ok"


async def run(fault: Fault, seconds: float) -> bool:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outage")))
        server, valkey = stack.enter_context(PostgresServer(fsync=True)), stack.enter_context(ValkeyServer())
        upstream = stack.enter_context(FakeUpstream(remembers=False))
        Postgres(server.url).execute("CREATE DATABASE conduit")
        url = server.url.replace("/postgres", "/conduit")
        links = [stack.enter_context(FaultProxy.before(each)) for each in (url, valkey.url, upstream.base_url)]
        world = World(server, valkey, *links)
        env = {**ENV, "DATABASE_URL": links[0].through(url), "REDIS_URL": links[1].through(valkey.url)}
        config = ""
        if fault is provider_network:
            config = PROVIDERS.format(far=links[2].through(upstream.base_url), near=upstream.base_url)
            config += "".join(MODEL.format(name=name) for name in ("far", "near"))
        names = ("one", "two")
        processes = [stack.enter_context(GatewayProcess(folder / name, config=config, env=env)) for name in names]
        return await judged(fault, world, seconds, url, processes)


async def judged(fault: Fault, world: World, seconds: float, url: str, processes: list[GatewayProcess]) -> bool:
    ports = [process.port for process in processes]
    witness = await Witness.open(url)
    with Traffic(ports, threads=4) as traffic:
        sleep(CALM_S)  # noqa: ASYNC251 - nothing else runs here
        begun_s = perf_counter()
        (what,) = fault(world, seconds)
        back_s = perf_counter()
        until(lambda: all(map(drained, processes)), 120)
        late_s = perf_counter() - back_s
        sleep(CALM_S)  # noqa: ASYNC251
        traffic.pause()
        missing, lost = await witness.missing(traffic.heard)
        wrong = missing, lost, await witness.doubled(), await witness.untaught()
        # The witness knows the models of the sandbox only.
        apart = None if fault is provider_network else await witness.disagreement(ports, 1)
        report(what, traffic.heard, wrong, late_s=late_s, since_s=begun_s, apart=apart)
        await witness.close()
    return not any(wrong) and (apart is None or apart <= CLOSE) and not _refused(traffic.heard, "completion")


def _refused(heard: Heard, what: str) -> int:
    return sum(n for (kind, status), n in heard.statuses.items() if kind == what and status != 200)


def report(
    what: str, heard: Heard, wrong: tuple[int, int, int, int], *, late_s: float, since_s: float, apart: float | None
) -> None:
    missing, lost, doubled, untaught = wrong
    slow = sorted(took for at, took in heard.latencies_s if at >= since_s)
    print(
        f"{what}: {len(heard.answers)} answers, of completions {_refused(heard, 'completion')} refused and "
        f"{dict(heard.broken) or 'none'} broken off; said to be degraded: {dict(heard.degraded)}; "
        f"{len(heard.feedback)} feedbacks acknowledged, {_refused(heard, 'feedback')} refused; "
        f"answers since then: median {slow[len(slow) // 2] * 1e3:.0f} ms, slowest {slow[-1]:.2f} s; "
        f"all written {late_s:.1f} s after its end; "
        f"answers without a decision {missing}, lost though recorded nowhere {len(heard.unkept)}, "
        f"acknowledged feedback lost {lost}, doubled {doubled}, untaught {untaught}; beliefs "
        f"{'not compared' if apart is None else f'apart {apart:.1e}'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=FAULTS)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    sys.exit(not asyncio.run(run(FAULTS[given.what], given.seconds)))


if __name__ == "__main__":
    main()
