"""Both start commands, with nothing configured, wrongly configured, and with several workers."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.support.gateway import Command, GatewayProcess, children, until

WORKERS = 4


@pytest.mark.parametrize("command", ["uvicorn", "conduit serve"])
def test_it_starts_with_nothing_configured_in_an_empty_folder(command: Command, tmp_path: Path) -> None:
    """Simulated models answer the official client, and say that they are simulated; the ledger is one file there."""
    with GatewayProcess(tmp_path / "empty", command=command) as gateway:
        with OpenAI(base_url=gateway.base_url, api_key="unused", max_retries=0) as client:
            names = [model.id for model in client.models.list()]
            answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello!"}])
        assert len(names) > 3
        assert answer.model in names
        assert "simulated" in (answer.choices[0].message.content or "")
        assert (gateway.folder / "conduit.db").exists()
        assert "Traceback" not in gateway.said


def test_serve_says_where_it_listens_what_it_offers_and_how_to_try(tmp_path: Path) -> None:
    """On standard output; the command that it prints works as it stands."""
    with GatewayProcess(tmp_path, command="conduit serve") as gateway:
        said = until(lambda: (tmp_path / "stdout.txt").read_text("utf-8"))
        for word in (gateway.url, "sandbox/frontier", "curl", "/v1/chat/completions"):
            assert word in said
        with socket.create_connection(("127.0.0.1", gateway.port)) as wire, pytest.raises(ConnectionError):
            wire.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * 50_000_000)  # a head without an end is no request
        body = re.search(r"-d '(.*)'", said)
        assert body is not None
        assert gateway.post("/v1/chat/completions", body[1].encode()).status == 200


@pytest.mark.parametrize(
    ("command", "env", "config", "named"),
    [
        ("conduit serve", {"UPSTREAM_ATTEMPTS": "many"}, "", "UPSTREAM_ATTEMPTS"),
        ("conduit serve", {}, "= 1", "conduit.toml"),
        ("uvicorn", {}, "api_prot = 1", "api_prot"),
        ("uvicorn", {"CONDUIT_CONFIG": "absent.toml"}, "", "absent.toml"),
        ("uvicorn", {"POLICY": "best"}, "", "best"),
        ("uvicorn", {"ENVIRONMENT": "production"}, "", "ENVIRONMENT=production: nobody could be let in"),
        ("conduit serve", {"API_REQUIRE_AUTH": "true"}, "", "conduit keys create"),
        ("uvicorn", {"DATABASE_URL": "mysql://root:hidden@host/x"}, "", "DATABASE_URL"),
    ],
)
def test_a_wrong_setting_stops_it_and_is_named(
    command: Command, env: dict[str, str], config: str, named: str, tmp_path: Path
) -> None:
    """In one line, without a traceback."""
    gateway = GatewayProcess(tmp_path, command=command, env=env, config=config)
    with pytest.raises(AssertionError, match="ended instead of starting"):
        gateway.start()
    assert gateway.wait() not in {0, None}
    assert named in gateway.said
    assert "Traceback" not in gateway.said
    assert "hidden" not in gateway.said


def test_four_workers_start_on_one_fresh_file_and_agree(tmp_path: Path) -> None:
    """Whichever answers, /v1/stats is the same, and the beliefs are."""
    with GatewayProcess(tmp_path, workers=WORKERS, env={"SANDBOX_TIME_SCALE": "0"}) as gateway:
        workers = until(lambda: found if len(found := children(gateway.pid)) == WORKERS else [])
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda i: _ask_and_rate(gateway, i), range(40)))
        stats, beliefs = [], []
        for pid in workers:
            with _alone(pid, workers):
                until(lambda: gateway.get("/health/startup").status == 200)
                stats.append(_without_ages(gateway.get("/v1/stats").json))
        for pid in workers:
            with _alone(pid, workers):
                beliefs.append(_beliefs(gateway))
        assert stats[0]["total_queries"] == 40
        assert stats[0]["quality_metrics"]["rated"] == 40
        assert all(each == stats[0] for each in stats)
        for each in beliefs[1:]:
            assert each == pytest.approx(beliefs[0], abs=1e-9)
        assert "Traceback" not in gateway.said


def _without_ages(stats: dict[str, Any]) -> dict[str, Any]:
    """What each worker has looked up at a moment of its own is the same, and its age is not."""
    return {
        name: _without_ages(value) if isinstance(value, dict) else value
        for name, value in stats.items()
        if name != "age_s"
    }


def _ask_and_rate(gateway: GatewayProcess, i: int) -> None:
    answer = gateway.post("/v1/complete", {"prompt": f"Write a haiku about {i} bicycles."}).json
    said = gateway.post("/v1/feedback", {"response_id": answer["id"], "quality_score": (i % 5) / 4})
    assert said.status == 200


def _beliefs(gateway: GatewayProcess) -> dict[str, float]:
    """Once the worker has read all that there is: when they no longer change from one look to the next."""
    seen: list[dict[str, float]] = []

    def settled() -> bool:
        decision = gateway.post("/v1/route", {"prompt": "Write a haiku about the sea."}).json
        seen.append({c["model"]: c["quality"] for c in decision["candidates"]})
        return len(seen) > 30 and seen[-1] == seen[-30]

    until(settled)
    return seen[-1]


@contextmanager
def _alone(pid: int, workers: list[int]) -> Iterator[None]:
    """Only this worker runs, so that it is the one that answers."""
    others = [other for other in workers if other != pid]
    try:
        for other in others:
            os.kill(other, signal.SIGSTOP)
            until(lambda other=other: _state(other) == "T")
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
