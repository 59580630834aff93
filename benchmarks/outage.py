"""What gateways need goes away under load, and comes back: answers go on, nothing is lost, feedback is kept or refused.

    python -m benchmarks.outage postgresql|redis|network [--seconds 30]

`postgresql` and `redis` kill the server of two gateways for so long; `network` puts a proxy before PostgreSQL that
stalls, delays, resets, and resets in mid-commit, before and after it was delivered.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.traffic import Heard, Traffic
from benchmarks.witness import CLOSE, Witness
from tests.support.fault_proxy import FaultProxy
from tests.support.gateway import GatewayProcess, until
from tests.support.postgres import Postgres, PostgresServer
from tests.support.valkey import ValkeyServer

ENV = {"SANDBOX_TIME_SCALE": "0", "FOLLOW_INTERVAL_S": "0.05", "LOG_LEVEL": "error"}
ENV |= {"FEEDBACK_WEIGHT_PER_HOUR": "1000000000", "API_RATE_LIMIT": "1000000"}
CALM_S = 4.0


def postgresql(server: PostgresServer, _valkey: ValkeyServer, _proxy: FaultProxy, seconds: float) -> Iterator[str]:
    server.kill()
    yield f"PostgreSQL killed for {seconds:g} s"
    sleep(seconds)
    server.start()


def redis(_server: PostgresServer, valkey: ValkeyServer, _proxy: FaultProxy, seconds: float) -> Iterator[str]:
    valkey.kill()
    yield f"Valkey killed for {seconds:g} s"
    sleep(seconds)
    valkey.start()


def network(_server: PostgresServer, _valkey: ValkeyServer, proxy: FaultProxy, seconds: float) -> Iterator[str]:
    each_s = seconds / 5.0
    yield f"stalled, 50 ms late, reset, reset before and after a commit, {each_s:g} s each"
    proxy.stall()
    sleep(each_s)
    proxy.flow()
    proxy.latency_s = 0.05
    sleep(each_s)
    proxy.latency_s = 0.0
    for fault in (proxy.cut, lambda: proxy.cut_at(b"COMMIT", delivered=False), lambda: _after(proxy)):
        for _ in range(int(each_s / 0.25)):
            fault()
            sleep(0.25)


def _after(proxy: FaultProxy) -> None:
    proxy.cut_at(b"COMMIT", delivered=True)


Fault = Callable[[PostgresServer, ValkeyServer, FaultProxy, float], Iterator[str]]
FAULTS: dict[str, Fault] = {"postgresql": postgresql, "redis": redis, "network": network}


def drained(process: GatewayProcess) -> bool:
    reply = process.get("/health/ready")
    return reply.status == 200 and reply.json["checks"]["spool"] == "ok"


async def run(fault: Fault, seconds: float) -> bool:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outage")))
        server, valkey = stack.enter_context(PostgresServer(fsync=True)), stack.enter_context(ValkeyServer())
        Postgres(server.url).execute("CREATE DATABASE conduit")
        url = server.url.replace("/postgres", "/conduit")
        proxy = stack.enter_context(FaultProxy.before(url))
        env = {**ENV, "DATABASE_URL": proxy.through(url), "REDIS_URL": valkey.url}
        processes = [stack.enter_context(GatewayProcess(folder / name, env=env)) for name in ("one", "two")]
        witness = await Witness.open(url)
        traffic = stack.enter_context(Traffic([process.port for process in processes], threads=4))
        sleep(CALM_S)  # noqa: ASYNC251 - nothing else runs here
        begun_s = perf_counter()
        (what,) = fault(server, valkey, proxy, seconds)
        back_s = perf_counter()
        until(lambda: all(map(drained, processes)), 120)
        late_s = perf_counter() - back_s
        sleep(CALM_S)  # noqa: ASYNC251
        traffic.pause()
        missing, lost = await witness.missing(traffic.heard)
        wrong = missing, lost, await witness.doubled(), await witness.untaught()
        apart = await witness.disagreement([process.port for process in processes], 1)
        report(what, traffic.heard, wrong, late_s=late_s, since_s=begun_s, apart=apart)
        await witness.close()
        return not any(wrong) and apart <= CLOSE and not _refused(traffic.heard, "completion")


def _refused(heard: Heard, what: str) -> int:
    return sum(n for (kind, status), n in heard.statuses.items() if kind == what and status != 200)


def report(
    what: str, heard: Heard, wrong: tuple[int, int, int, int], *, late_s: float, since_s: float, apart: float
) -> None:
    missing, lost, doubled, untaught = wrong
    slow = sorted(took for at, took in heard.latencies_s if at >= since_s)
    print(
        f"{what}: {len(heard.answers)} answers, of completions {_refused(heard, 'completion')} refused and "
        f"{sum(heard.broken.values())} broken off; said to be degraded: {dict(heard.degraded)}; "
        f"{len(heard.feedback)} feedbacks acknowledged, {_refused(heard, 'feedback')} refused; "
        f"answers since then: median {slow[len(slow) // 2] * 1e3:.0f} ms, slowest {slow[-1]:.2f} s; "
        f"all written {late_s:.1f} s after its end; "
        f"answers without a decision {missing}, lost though recorded nowhere {len(heard.unkept)}, "
        f"acknowledged feedback lost {lost}, doubled {doubled}, untaught {untaught}; beliefs apart {apart:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=FAULTS)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    sys.exit(not asyncio.run(run(FAULTS[given.what], given.seconds)))


if __name__ == "__main__":
    main()
