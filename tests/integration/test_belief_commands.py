"""`conduit beliefs` as an operator runs it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from conduit.assemble import assemble
from conduit.cli import app
from conduit.cli.beliefs import moment
from conduit.core.config import make_settings
from conduit.gateway.request.exchange import Ask
from conduit.routing.errors import ConfigurationError, InvalidRequest
from conduit.routing.query import Query
from conduit.routing.snapshot import unpacked
from conduit.routing.snapshot_file import from_file

HERE, THERE = "sqlite:///conduit.db", "sqlite:///other.db"


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a gateway's ledger in it: 12 answers of simulated models, half of them rated."""
    for name in os.environ:
        if name not in {"PATH", "HOME"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    settings = make_settings(file={"sandbox": "on", "sandbox_time_scale": 0.0, "seed": 1}, environ={})
    conduit = await assemble(settings, {})
    await conduit.start()
    for i in range(12):
        text = f"write {i}"
        ask = Ask(Query(text, key_id=f"key_{i % 2}"), {"messages": [{"role": "user", "content": text}]})
        done = await conduit.gateway.complete(ask)
        if i % 2:
            await conduit.settler.settle(done.decision.id, {"quality_score": 0.5})
    await conduit.stop()
    return tmp_path


def run(*words: str, url: str = HERE, **more: str) -> Result:
    env = {"DATABASE_URL": url, "SANDBOX": "on", **more}
    return CliRunner().invoke(app, ["beliefs", *words], env=env, catch_exceptions=False)


def shown(url: str = HERE) -> dict[tuple[str, str], dict[str, float]]:
    return {(each["model"], each["signal"]): each for each in json.loads(run("show", "--json", url=url).output)}


def test_beliefs_are_shown_kept_taken_elsewhere_and_taken_back(folder: Path) -> None:
    before = shown()
    assert sum(each["observations"] for (_, signal), each in before.items() if signal == "quality") == pytest.approx(6)
    table = run("show").output.splitlines()
    assert len(table) == len(before) + 1
    assert max(map(len, table)) <= 80
    run("export", "kept.conduit")
    assert "beliefs of 18 observations" in run("import", "kept.conduit", url=THERE).output
    run("export", "again.conduit", url=THERE)
    one, other = (unpacked(from_file((folder / f"{name}.conduit").read_bytes()).body) for name in ("kept", "again"))
    for signal, arms in one.items():
        for arm, vector in arms.items():
            np.testing.assert_array_equal(other[signal][arm], vector)
    with pytest.raises(ConfigurationError, match="taught something already"):
        run("import", "kept.conduit", url=THERE)
    assert "6 observations and 0 judgements of 6 decisions would" in run("rollback", "--without-key", "key_0").output
    assert "of 12 decisions were taken back" in run("rollback", "--to", "1h", "--yes").output
    assert max(abs(each["observations"]) for each in shown().values()) < 1e-9


def test_a_file_that_does_not_fit_or_would_overwrite_is_refused_by_name(folder: Path) -> None:
    run("export", "kept.conduit")
    with pytest.raises(ConfigurationError, match="--force"):
        run("export", "kept.conduit")
    run("export", "kept.conduit", "--force")
    for setting, value, said in (("POLICY", "linucb", "POLICY"), ("HALF_LIFE_DAYS", "7", "HALF_LIFE_DAYS")):
        with pytest.raises(ConfigurationError, match=said):
            run("import", "kept.conduit", url=THERE, **{setting: value})
    content = (folder / "kept.conduit").read_bytes()
    (folder / "cut.conduit").write_bytes(content[:-8])
    for name in ("cut.conduit", "absent.conduit"):
        with pytest.raises(ConfigurationError, match=name):
            run("import", name, url=THERE)
    with pytest.raises(InvalidRequest, match="nobody"):
        run("rollback", "--without-key", "nobody")
    with pytest.raises(InvalidRequest, match="--to"):
        run("rollback")


def test_moments_are_times_or_so_long_ago() -> None:
    assert moment("90s", 1000.0) == 910.0
    assert moment("1d", 1e6) == 1e6 - 86400
    assert moment("1970-01-01T00:10", 0.0) == moment("1970-01-01T02:10+02:00", 0.0) == 600.0
    for text in ("", "yesterday", "5x", "s"):
        with pytest.raises(InvalidRequest):
            moment(text, 0.0)
