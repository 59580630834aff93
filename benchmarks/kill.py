"""kill -9 of a random worker or replica under load, many times: what was promised must be there, once, and believed.

    python -m benchmarks.kill --database sqlite|postgresql --shape workers|replicas [--many 2] --times 100

`workers` is one gateway with so many of them, `replicas` are so many gateways of one worker each; the killed one is
started again (a worker by its supervisor), and then the beliefs of all are compared with the fold of the ledger.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from benchmarks.traffic import Traffic
from benchmarks.witness import CLOSE, Witness
from tests.support.gateway import GatewayProcess, children, until
from tests.support.postgres import Postgres, PostgresServer

ENV = {"SANDBOX_TIME_SCALE": "0", "FOLLOW_INTERVAL_S": "0.05", "SNAPSHOT_EVERY": "400", "LOG_LEVEL": "warning"}
ENV |= {"FEEDBACK_WEIGHT_PER_HOUR": "1000000000"}
ENV |= {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
"""Another kernel of the same library rounds otherwise, and doubts are kept in single precision."""
BETWEEN = 25
"""Acknowledged feedbacks before the plug is pulled again."""


@dataclass
class Tally:
    rounds: int = 0
    without_decision: int = 0
    lost: int = 0
    doubled: int = 0
    untaught: int = 0
    apart: list[float] = field(default_factory=list)
    """The largest relative difference of beliefs, after each round."""

    @property
    def good(self) -> bool:
        wrong = self.without_decision + self.lost + self.doubled + self.untaught
        return wrong == 0 and max(self.apart, default=1.0) <= CLOSE


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'conduit.db'}"
        return
    with PostgresServer(fsync=True) as server, Postgres(server.url).database() as url:
        yield url


def gateways(stack: ExitStack, shape: str, many: int, url: str, folder: Path) -> list[GatewayProcess]:
    env = {**ENV, "DATABASE_URL": url, "SPOOL_PATH": str(folder / "spool")}
    processes, workers = (1, many) if shape == "workers" else (many, 1)
    made = [GatewayProcess(folder / f"gateway-{n}", workers=workers, env=env) for n in range(processes)]
    return [stack.enter_context(each) for each in made]


def strike(draw: random.Random, processes: list[GatewayProcess]) -> None:
    """And wait until all serve again."""
    victim = draw.choice(processes)
    pids = children(victim.pid)
    if pids:
        os.kill(draw.choice(pids), signal.SIGKILL)
        until(lambda: len(set(children(victim.pid)) - set(pids)) == 1, 60)
    else:
        victim.kill9()
        victim.start()


async def run(kind: str, shape: str, many: int, times: int, *, seed: int, most_s: float) -> Tally:
    draw, tally = random.Random(seed), Tally()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kill")))
        url = stack.enter_context(database(kind, folder))
        processes = gateways(stack, shape, many, url, folder)
        ports = [process.port for process in processes]
        witness = await Witness.open(url)
        traffic = stack.enter_context(Traffic(ports, threads=4, seed=seed))
        heard, begun = traffic.heard, monotonic()
        while tally.rounds < times and monotonic() - begun < most_s:
            tally.rounds += 1
            before = len(heard.feedback)
            until(lambda before=before: len(heard.feedback) >= before + BETWEEN, 60)  # type: ignore[misc]
            strike(draw, processes)
            traffic.pause()
            missing, lost = await witness.missing(heard)
            tally.without_decision, tally.lost = tally.without_decision + missing, tally.lost + lost
            tally.apart.append(await witness.disagreement(ports, 1 if shape == "replicas" else 2 * many))
            if tally.rounds % 10 == 0:
                tally.doubled, tally.untaught = await witness.doubled(), await witness.untaught()
                print(
                    f"  {tally.rounds} kills, {len(heard.answers)} answers, {monotonic() - begun:.0f} s",
                    file=sys.stderr,
                )
            traffic.go_on()
        traffic.pause()
        tally.doubled, tally.untaught = await witness.doubled(), await witness.untaught()
        report(f"{kind}, {many} {shape}", tally, traffic, await witness.observed())
        await witness.close()
    return tally


def report(what: str, tally: Tally, traffic: Traffic, observed: int) -> None:
    heard = traffic.heard
    bad = {f"{path} {status}": n for (path, status), n in heard.statuses.items() if status != 200}
    print(
        f"{what}: {tally.rounds} kills; {len(heard.answers)} answers, {len(heard.feedback)} feedbacks, "
        f"{observed} observations; broken off {sum(heard.broken.values())}, refused {bad or 'none'}; "
        f"answers without a decision {tally.without_decision}, acknowledged feedback lost {tally.lost}, "
        f"doubled {tally.doubled}, untaught {tally.untaught}; beliefs apart at most {max(tally.apart):.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--shape", choices=("workers", "replicas"), default="replicas")
    parser.add_argument("--many", type=int, default=2)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after so many, whatever was done by then")
    given = parser.parse_args()
    work = run(given.database, given.shape, given.many, given.times, seed=given.seed, most_s=given.minutes * 60.0)
    tally = asyncio.run(work)
    sys.exit(not tally.good)


if __name__ == "__main__":
    main()
