"""PostgreSQL goes away in mid-traffic: answers go on, what they were is not lost, and feedback is kept or refused."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import GatewayProcess, Reply, problem, until
from tests.support.postgres import PostgresServer

MARK = "marked-walrus-5512"
ENV = {"SANDBOX_TIME_SCALE": "0", "FOLLOW_INTERVAL_S": "0.05", "SPOOL_AFTER_S": "0.5"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """To be killed."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def gateway(server: PostgresServer, tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path, env={**ENV, "DATABASE_URL": server.url}) as gateway:
        yield gateway


def ask(gateway: GatewayProcess, *, stream: bool = False) -> Reply:
    messages = [{"role": "user", "content": f"What is {MARK}?"}]
    return gateway.post("/v1/chat/completions", {"model": "auto", "stream": stream, "messages": messages})


def rate(gateway: GatewayProcess, reply: Reply) -> Reply:
    said = {"response_id": reply.headers["x-conduit-decision"], "quality_score": 0.5}
    return gateway.post("/v1/feedback", said)


def record(gateway: GatewayProcess, reply: Reply) -> Any:
    return gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}").json


def whole(reply: Reply) -> bool:
    return reply.status == 200 and (reply.body.startswith(b"{") or reply.body.endswith(b"data: [DONE]\n\n"))


@contextmanager
def asking(gateway: GatewayProcess) -> Iterator[list[Reply]]:
    replies: list[Reply] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            replies.append(ask(gateway, stream=len(replies) % 2 == 0))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield replies
    finally:
        over.set()
        thread.join()


def test_answers_go_on_without_the_database_and_survive_the_death_of_the_gateway_too(
    gateway: GatewayProcess, server: PostgresServer
) -> None:
    before = ask(gateway)
    assert "x-conduit-degraded" not in before.headers
    server.kill()
    during = [ask(gateway, stream=n % 2 == 0) for n in range(8)]
    assert all(whole(reply) for reply in during)
    assert [reply.headers.get("x-conduit-degraded") for reply in during[1:]] == ["spool"] * 7
    for reply in (before, during[0]):
        refused = rate(gateway, reply)
        problem(refused, 503, "ledger_unavailable")
        assert refused.headers["retry-after"]
    checks = gateway.get("/health/ready").json["checks"]
    assert (checks["database"], checks["spool"]) == ("unreachable", "degraded")
    metrics = gateway.get("/metrics").body.decode()
    assert 'conduit_degraded_total{what="spool"}' in metrics
    assert re.search(r"^conduit_ledger_spool\S* [1-9]", metrics, re.MULTILINE)
    waiting = list((gateway.folder / "conduit-spool").iterdir())
    assert sorted(path.suffix for path in waiting) == [".spooled", ".spooled-wal"]
    assert not any(MARK.encode() in path.read_bytes() for path in waiting)

    gateway.kill9()
    server.start()
    gateway.start()
    for reply in (before, *during):
        assert record(gateway, reply)["outcome"]["status"] == "answered"
        assert rate(gateway, reply).status == 200
    assert gateway.get("/health/ready").json["checks"]["spool"] == "ok"


def test_a_database_that_is_killed_in_mid_traffic_costs_no_answer_and_no_decision(
    gateway: GatewayProcess, server: PostgresServer
) -> None:
    with asking(gateway) as replies:
        for _ in range(2):
            seen = len(replies)
            until(lambda seen=seen: len(replies) > seen + 10)
            server.kill()
            until(lambda: any("x-conduit-degraded" in reply.headers for reply in replies[-3:]))
            server.start()
            until(lambda: "x-conduit-degraded" not in replies[-1].headers, 60)
    assert all(whole(reply) for reply in replies)
    until(lambda: gateway.get("/health/ready").json["checks"]["spool"] == "ok")
    assert all(record(gateway, reply)["outcome"]["status"] == "answered" for reply in replies)
    names = [reply.headers["x-conduit-decision"] for reply in replies]
    assert gateway.get("/v1/stats").json["total_queries"] >= len(set(names)) == len(names)
