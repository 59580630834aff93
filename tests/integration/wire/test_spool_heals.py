"""When neither the database nor the disk can take a decision it is lost, and said; when one can again, that is over."""

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess, Reply, until
from tests.support.postgres import PostgresServer

ENV = {"SANDBOX_TIME_SCALE": "0", "SPOOL_AFTER_S": "0.3", "LOG_LEVEL": "error"}
LOST = "full: decisions are lost"
HEALED_S = 60.0
"""It takes some five seconds."""
Fault = Callable[[GatewayProcess], AbstractContextManager[None]]


def ask(gateway: GatewayProcess) -> Reply:
    return gateway.post("/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": "hi"}]})


def spool(gateway: GatewayProcess) -> str:
    return str(gateway.get("/health/ready").json["checks"]["spool"])


@contextmanager
def locked(gateway: GatewayProcess) -> Iterator[None]:
    """Another process writes into the database, and does not come to an end."""
    with closing(sqlite3.connect(gateway.folder / "conduit.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def folder_gone(gateway: GatewayProcess) -> Iterator[None]:
    """Nothing can be made in the spool's folder, not even by root: a file stands in its place. And it is locked."""
    folder = gateway.folder / "conduit-spool"
    if folder.exists():
        folder.rmdir()
    folder.write_text("in the way")
    with locked(gateway):
        yield
    folder.unlink()


@contextmanager
def folder_gone_for_good(gateway: GatewayProcess) -> Iterator[None]:
    """The same, and only the database comes back."""
    (gateway.folder / "conduit-spool").write_text("in the way")
    with locked(gateway):
        yield


@contextmanager
def disk_full(gateway: GatewayProcess) -> Iterator[None]:
    """No file of the process can grow, neither the database's nor the spool's."""
    soft, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (64, hard))
    yield
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (soft, hard))


FAULTS = [
    pytest.param(locked, {"SPOOL_MAX_BYTES": "100"}, id="23 full by its limit"),
    pytest.param(disk_full, {}, id="23 a full disk"),
    pytest.param(folder_gone, {}, id="23 a folder that cannot be written"),
    pytest.param(folder_gone_for_good, {}, id="23 a folder that can never be written"),
]


@pytest.mark.parametrize("asked", [pytest.param(False, id="out of service"), pytest.param(True, id="in service")])
@pytest.mark.parametrize(("fault", "env"), FAULTS)
def test_readiness_comes_back_with_room(tmp_path: Path, fault: Fault, env: dict[str, str], asked: bool) -> None:
    """Whether requests go on, or a load balancer keeps them away; without a restart, and the next one is kept."""
    with GatewayProcess(tmp_path, env={**ENV, **env}) as gateway:
        assert ask(gateway).status == 200
        with fault(gateway):
            lost = ask(gateway)
            assert (lost.status, lost.headers["x-conduit-degraded"]) == (200, "ledger")
            until(lambda: ask(gateway).status == 200 and spool(gateway) == LOST)
            assert gateway.get("/health/ready").status == 503

        def well() -> bool:
            if asked:
                assert ask(gateway).status == 200
            return gateway.get("/health/ready").status == 200

        until(well, HEALED_S, lambda: str(gateway.get("/health/ready").json))
        kept = until(lambda: "x-conduit-degraded" not in (reply := ask(gateway)).headers and reply)
        record = gateway.get(f"/v1/decisions/{kept.headers['x-conduit-decision']}")
        assert record.json["outcome"]["status"] == "answered"


def test_23_with_a_database_that_is_elsewhere(tmp_path: Path) -> None:
    """PostgreSQL is killed, the spool is too small for one decision: both heal."""
    with PostgresServer() as server:
        env = {**ENV, "DATABASE_URL": server.url, "SPOOL_MAX_BYTES": "100"}
        with GatewayProcess(tmp_path, env=env) as gateway:
            assert ask(gateway).status == 200
            server.kill()
            assert ask(gateway).status == 200
            until(lambda: spool(gateway) == LOST)
            server.start()
            until(lambda: gateway.get("/health/ready").status == 200, HEALED_S, lambda: spool(gateway))
            assert "x-conduit-degraded" not in ask(gateway).headers
