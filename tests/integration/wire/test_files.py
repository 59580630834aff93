"""What is written is its owner's alone: every file 0600 and every folder 0700, whatever the umask is."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess, environ, until

CONDUIT = str(Path(sys.executable).with_name("conduit"))
OPEN = stat.S_IRWXG | stat.S_IRWXO
BY_THE_TEST = {"stdout.txt", "stderr.txt", "conduit.toml"}
ENV = {
    "DATABASE_URL": "sqlite:///deep/data/conduit.db",
    "SPOOL_PATH": "deep/spool",
    "PAYLOAD_LOG_FOLDER": "deep/payloads",
    "METRICS_FOLDER": "deep/metrics",
    "SANDBOX_TIME_SCALE": "0",
    "SNAPSHOT_EVERY": "1",
    "PROMPT_TEXT": "full",
}


@pytest.fixture(scope="module", autouse=True)
def usual() -> Iterator[None]:
    """As most systems have it; processes inherit it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [CONDUIT, *words], cwd=folder, env=environ() | ENV, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def open_to_others(folder: Path) -> dict[str, str]:
    """Of all that is below it, what anybody but its owner may look into."""
    found = {path: path.stat().st_mode for path in folder.rglob("*") if path.name not in BY_THE_TEST}
    return {str(path.relative_to(folder)): stat.filemode(mode) for path, mode in found.items() if mode & OPEN}


@pytest.fixture(scope="module", params=["uvicorn", "conduit serve"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a gateway that runs and has written all it writes."""
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, command=request.param, env=ENV) as gateway:
        for _ in range(3):
            asked = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
            reply = gateway.post("/v1/chat/completions", asked)
            assert reply.status == 200
            said = {"response_id": reply.headers["x-conduit-decision"], "quality_score": 0.5}
            assert gateway.post("/v1/feedback", said).status in {200, 201, 202}
        until(lambda: list((folder / "deep/payloads").glob("*.jsonl")))
        yield folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("deep", id="32 a folder above"),
        pytest.param("deep/data", id="32 the database's folder"),
        pytest.param("deep/data/conduit.db", id="32 the database"),
        pytest.param("deep/data/conduit.db-wal", id="32 its log"),
        pytest.param("deep/data/conduit.db-shm", id="32 its index"),
        pytest.param("deep/spool", id="32 the spool's folder"),
        pytest.param("deep/payloads", id="32 control: payloads' folder"),
        pytest.param("deep/payloads/*.jsonl", id="32 control: payloads"),
        pytest.param("deep/metrics", id="32 control: metrics' folder"),
        pytest.param("deep/metrics/*", id="32 control: metrics"),
    ],
)
def test_what_a_gateway_writes_is_its_own(served: Path, name: str) -> None:
    found = list(served.glob(name))
    assert found
    assert [stat.filemode(path.stat().st_mode) for path in found if path.stat().st_mode & OPEN] == []


def test_32_nothing_else_is_open_either(served: Path) -> None:
    assert open_to_others(served) == {}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("export", "out/ledger.jsonl"), id="32 export of lines"),
        pytest.param(("export", "out/ledger.jsonl.gz"), id="32 export of lines, zipped"),
        pytest.param(("export", "out/ledger.parquet"), id="32 export of Parquet"),
        pytest.param(("beliefs", "export", "out/beliefs"), id="32 export of beliefs"),
        pytest.param(("migrate",), id="32 migrate"),
        pytest.param(("keys", "create", "web"), id="32 a key"),
    ],
)
def test_what_a_command_writes_is_its_own(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "out").mkdir(mode=0o700)
    run(tmp_path, *words)
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
    assert open_to_others(tmp_path) == {}


def test_32_what_was_open_before_is_told_and_left(tmp_path: Path) -> None:
    """It may be open on purpose, for a backup; who did not mean it is told what to do."""
    run(tmp_path, "migrate")
    database = tmp_path / "deep/data/conduit.db"
    database.chmod(0o644)
    said = run(tmp_path, "check")
    assert "database look conduit.db can be read by other users" in said
    assert "chmod go= " in said
    with GatewayProcess(tmp_path, env=ENV) as gateway:
        assert gateway.said.count("can be read by other users") == 1
    assert stat.S_IMODE(database.stat().st_mode) == 0o644
    database.chmod(0o600)
    assert "can be read by other users" not in run(tmp_path, "check")
