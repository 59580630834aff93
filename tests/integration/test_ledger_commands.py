"""`conduit export` and `conduit import` as an operator runs them."""

import gzip
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from conduit.cli import app
from conduit.routing.errors import ConfigurationError, InvalidRequest
from conduit.stores.sql.ledger import SqlLedger
from tests.unit.stores import entries


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a ledger of 450 decisions in it: more than two pages."""
    for name in os.environ:
        if name not in {"PATH", "HOME"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    ledger = SqlLedger("sqlite:///conduit.db")
    await ledger.open()
    for i in range(450):
        ledger.append(entries.decision(i), entries.outcome(i), entries.observation(i))
    await ledger.append(entries.feedback(1))
    await ledger.close()
    return tmp_path


def run(*words: str, url: str = "sqlite:///conduit.db") -> Result:
    return CliRunner().invoke(app, list(words), env={"DATABASE_URL": url}, catch_exceptions=False)


def test_a_ledger_goes_out_and_comes_in_and_out_again_the_same(folder: Path) -> None:
    said = run("export", "one.jsonl.gz").output
    assert "450 decisions, 450 outcomes, 1 feedback, 450 observations" in said
    assert "450 decisions read; new: 450 decisions" in run("import", "one.jsonl.gz", url="sqlite:///other.db").output
    assert "new: 0 decisions" in run("import", "one.jsonl.gz", url="sqlite:///other.db").output
    run("export", "two.jsonl", url="sqlite:///other.db")
    assert gzip.decompress((folder / "one.jsonl.gz").read_bytes()) == (folder / "two.jsonl").read_bytes()
    run("export", "three.parquet")
    assert "new: 0 decisions" in run("import", "three.parquet").output
    assert {path.name for path in folder.iterdir() if not path.name.startswith(("conduit", "other"))} == {
        "one.jsonl.gz",
        "two.jsonl",
        "three.parquet",
    }


def test_what_is_there_is_replaced_only_when_somebody_says_so(folder: Path) -> None:
    (folder / "mine.jsonl").write_text("dear")
    with pytest.raises(ConfigurationError, match="--force"):
        run("export", "mine.jsonl")
    assert (folder / "mine.jsonl").read_text() == "dear"
    run("export", "mine.jsonl", "--force")
    assert (folder / "mine.jsonl").read_text().startswith('{"format"')


@pytest.mark.parametrize(
    ("command", "path"),
    [("export", "ledger.csv"), ("import", "ledger.csv"), ("import", "absent.jsonl"), ("export", "no/where.jsonl")],
)
def test_a_file_that_cannot_be_is_said_by_name(folder: Path, command: str, path: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(path)):
        run(command, path)


def test_old_decisions_are_removed_and_what_they_taught_is_kept_unless_somebody_says_forget(folder: Path) -> None:
    old = ("prune", "--older-than", "1d", "--wait", "0s")
    with pytest.raises(ConfigurationError, match="SNAPSHOT_EVERY"):
        CliRunner().invoke(app, list(old), env={"SNAPSHOT_EVERY": "0"}, catch_exceptions=False)
    with pytest.raises(InvalidRequest, match="--older-than"):
        run("prune", "--older-than", "soon")
    said = run(*old).output
    assert "450 decisions removed" in said
    assert "features changed" in said, "these were made by others, and the base knows nothing of them"
    assert "0 decisions removed, with all that became of them; what they taught is f" in run(*old, "--forget").output
