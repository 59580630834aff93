"""What is said to those who send requests here: with a real database, a real Valkey, and real signals."""

import json
import sqlite3
from contextlib import closing, suppress
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.gateway import GatewayProcess, Reply, problem, until
from tests.support.postgres import Postgres, postgres, postgres_url
from tests.support.valkey import ValkeyServer, valkey

__all__ = ["postgres", "postgres_url", "valkey"]


def ready(gateway: GatewayProcess) -> Reply:
    return gateway.get("/health/ready")


def unready(gateway: GatewayProcess, check: str, state: str) -> bool:
    reply = ready(gateway)
    body = reply.json
    assert reply.status == 200 or reply.headers["retry-after"] == "1"
    return reply.status == 503 and body["status"] == "unhealthy" and body["checks"][check] == state


def test_what_is_away_is_named_and_what_is_back_is_used(
    postgres: Postgres, postgres_url: str, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Whether it is the database or a Redis that limits must have; the process itself is alive all the time."""
    env = {
        "API_RATE_LIMIT": "1000",
        "DATABASE_URL": postgres_url,
        "RATE_LIMIT_FAIL_CLOSED": "true",
        "REDIS_PATIENCE_S": "10",
        "REDIS_URL": valkey.url,
    }
    database = urlsplit(postgres_url).path[1:]
    with GatewayProcess(tmp_path, env=env) as gateway:
        checks = ready(gateway).json["checks"]
        names = ("database", "migrations", "spool", "redis", "models", "beliefs", "draining")
        assert checks == dict.fromkeys(names, "ok")

        postgres.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS false")
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        assert unready(gateway, "database", "unreachable")
        assert "asyncpg" not in str(ready(gateway).body)
        assert gateway.get("/health/live").status == gateway.get("/health/startup").status == 200
        postgres.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true")
        until(lambda: ready(gateway).status == 200)

        valkey.kill()
        assert unready(gateway, "redis", "unreachable")
        reply = gateway.get("/v1/models")
        problem(reply, 503, "limits_unavailable")
        assert reply.headers["retry-after"]
        assert gateway.get("/health/live").status == 200
        valkey.start()
        until(lambda: ready(gateway).status == 200 == gateway.get("/v1/models").status)


def test_who_is_told_to_end_says_so_and_serves_on_until_told_again(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, command="conduit serve", env={"API_DRAIN_S": "600"}) as gateway:
        gateway.terminate()
        until(lambda: unready(gateway, "draining", "yes"))
        assert gateway.post("/v1/complete", {"prompt": "Hello!"}).status == 200
        assert gateway.stop() == 0


def test_a_stream_that_outlasts_the_grace_is_cut_and_in_the_ledger(tmp_path: Path) -> None:
    """And the exit is in order all the same."""
    env = {"API_GRACE_S": "1", "SANDBOX": "on", "SANDBOX_TIME_SCALE": "10"}
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Write a very long story."}]}
    with GatewayProcess(tmp_path, command="conduit serve", env=env) as gateway:
        connection = HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.readline().startswith(b"data: ")
        assert gateway.stop() == 0
        with suppress(IncompleteRead, ConnectionError):
            assert b'"finish_reason":"stop"' not in response.read()
        connection.close()
    with closing(sqlite3.connect(tmp_path / "conduit.db")) as ledger:
        every = "select o.status from decisions d left join outcomes o on o.decision_id = d.id"
        rows = ledger.execute(every).fetchall()
    assert len(rows) == 1
    assert rows[0][0] not in {None, "answered"}
