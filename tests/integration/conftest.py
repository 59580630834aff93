"""A fake upstream for gateways that run as processes, and a gateway that is looked into after it was ill-treated."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.gateway import FAKE_KEY, GatewayProcess, declared
from tests.support.upstream import FakeUpstream

MARK = "marked-zebra-quixotic-8231"
"""Stands in prompts and in callers' keys; whatever repeats it has leaked."""


@pytest.fixture(scope="module")
def fake_server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def fake(fake_server: FakeUpstream) -> FakeUpstream:
    """Which has forgotten what the test before planned."""
    fake_server.forget()
    return fake_server


@pytest.fixture(scope="module")
def survivor(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """When all is over it still serves, every row is sound, and it has not repeated what it was told."""
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    env = {"LOG_LEVEL": "debug", "UPSTREAM_TIMEOUT_S": "2"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env) as gateway:
        yield gateway
        fake_server.forget()
        _alive(gateway)
        _silent(gateway.said)
        _sound(gateway)


def _alive(gateway: GatewayProcess) -> None:
    assert gateway.alive
    for path in ("/health/ready", "/v1/stats", "/v1/models", "/v1/decisions?limit=200"):
        assert gateway.get(path).status == 200
    reply = gateway.post("/v1/complete", {"prompt": "still there?"})
    assert reply.status == 200
    assert gateway.get(f"/v1/decisions/{reply.json['id']}").json["outcome"]["status"] == "answered"


def _silent(said: str) -> None:
    for word in (MARK, FAKE_KEY, "Traceback", "internal error", "internal_error"):
        assert word not in said


def _sound(gateway: GatewayProcess) -> None:
    with closing(sqlite3.connect(gateway.folder / "conduit.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert MARK not in "\n".join(connection.iterdump())
