"""Gateways with a ledger to be ill-treated: two models at one price, a good one and a bad one, and their ratings."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from conduit.bench.prompts import prompts
from tests.support.gateway import GatewayProcess, declared, environ

GOOD, BAD = "good", "bad"
ENV = {"SEED": "7", "FOLLOW_INTERVAL_S": "0.05", "SNAPSHOT_EVERY": "0"}
CLI_S = 90


def gateway(folder: Path, base_url: str, **env: str) -> GatewayProcess:
    config = declared(base_url, {GOOD: 1.0, BAD: 1.0})
    return GatewayProcess(folder, config=config, command="conduit serve", env={**ENV, **env})


def ask(running: GatewayProcess, prompt: str, model: str = "auto") -> tuple[str, str]:
    """The decision's id, and who answered."""
    reply = running.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": prompt}]})
    assert reply.status == 200, reply.body[:500]
    return reply.headers["x-conduit-decision"], reply.headers["x-conduit-model"]


def rate(running: GatewayProcess, name: str, score: float) -> None:
    reply = running.post("/v1/feedback", {"response_id": name, "quality_score": score})
    assert reply.status == 200, reply.body[:500]


def teach(running: GatewayProcess, times: int, *, seed: int = 1) -> list[str]:
    """So many answers of either in turn: the good one's are worth 1, the bad one's nothing. Their decisions."""
    names = []
    for i, prompt in enumerate(islice(prompts(seed), times)):
        name, model = ask(running, prompt, (GOOD, BAD)[i % 2])
        rate(running, name, float(model == GOOD))
        names.append(name)
    return names


def chance_of_good(running: GatewayProcess) -> float:
    """In the mean over 20 prompts."""
    found = []
    for prompt in islice(prompts(99), 20):
        reply = running.post("/v1/route", {"prompt": prompt})
        assert reply.status == 200, reply.body[:500]
        found += [c["probability"] for c in reply.json["candidates"] if c["model"] == GOOD]
    return sum(found) / len(found)


@contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    """Of a gateway that has stopped; what is written is committed."""
    with closing(sqlite3.connect(folder / "conduit.db")) as connection:
        yield connection
        connection.commit()


def cli(folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """The installed command, in this folder."""
    command = [str(Path(sys.executable).with_name("conduit")), *words]
    found = {**environ(), **ENV, **env, "COLUMNS": "200", "PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=folder, env=found, capture_output=True, text=True, timeout=CLI_S, check=False)


def said(done: "subprocess.CompletedProcess[str]") -> str:
    """All that it has said, after a look that it was no traceback."""
    text = done.stdout + done.stderr
    assert "Traceback" not in text, text[-3000:]
    return text


def rows(folder: Path, statement: str, *values: Any) -> list[Any]:
    with database(folder) as connection:
        return connection.execute(statement, values).fetchall()
