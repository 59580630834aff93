"""What `conduit import` takes: each row is judged, named and refused, and then nothing of its file is kept."""

import base64
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.wire.ledgers import cli, gateway, rows, said, teach
from tests.support.gateway import until
from tests.support.stub_provider import StubProvider

Data = dict[str, Any]
LINES = 12


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the export of a ledger that was well treated, as lines and as Parquet."""
    folder = tmp_path_factory.mktemp("exported")
    with StubProvider() as stub, gateway(folder, stub.base_url) as running:
        teach(running, LINES)
        running.stop()
        for name in ("ledger.jsonl", "ledger.parquet"):
            assert cli(folder, "export", name).returncode == 0
        yield folder


def floats(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def put(*path: Any) -> Callable[[Data], None]:
    """The last is the value, the others say where it goes."""
    *where, last, value = path

    def change(data: Data) -> None:
        place: Any = data
        for each in where:
            place = place[each]
        place[last] = value

    return change


def both(*changes: Callable[[Data], None]) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for each in changes:
            each(data)

    return change


def column(table: str, name: str, part: str, value: Any) -> Callable[[Data], None]:
    """One of the values of a part that is kept by columns."""

    def change(data: Data) -> None:
        place = data[table][-1] if isinstance(data[table], list) else data[table]
        place[name][part][0] = value

    return change


NAN, INF = float("nan"), float("inf")
REAL = 75
HOSTILE: dict[str, tuple[Callable[[Data], None], str]] = {
    "34 empty context": (put("decision", "context", ""), "context"),
    "34 context of another length": (put("decision", "context", floats(*[0.1] * 74)), "context"),
    "34 context of half a number": (put("decision", "context", base64.b64encode(b"123").decode()), "context"),
    "34 NaN in a context": (put("decision", "context", floats(*[NAN] * REAL)), "context"),
    "34 infinity in a context": (put("decision", "context", floats(*[0.0] * 74, INF)), "context"),
    "34 wild context": (put("decision", "context", floats(*[3.4e38] * REAL)), "context"),
    "34 propensity -1": (put("decision", "propensity", -1), "propensity"),
    "34 propensity 0": (put("decision", "propensity", 0.0), "propensity"),
    "34 propensity 1e308": (put("decision", "propensity", 1e308), "propensity"),
    "34 candidate's probability 7": (column("decision", "candidates", "probability", 7.0), "probability"),
    "34 candidate's quality as text": (column("decision", "candidates", "quality", "high"), "quality"),
    "34 chosen is no candidate": (put("decision", "model", "somebody"), "model"),
    "34 weight -5": (put("observations", -1, "weight", -5), "weight"),
    "34 weight 1e308": (put("observations", -1, "weight", 1e308), "weight"),
    "34 quality 1e308": (put("observations", -1, "quality", 1e308), "quality"),
    "34 quality -.1": (put("observations", -1, "quality", -0.1), "quality"),
    "34 cost -5": (put("observations", 0, "cost_usd", -5), "cost_usd"),
    "34 tokens -1": (put("observations", 0, "output_tokens", -1), "output_tokens"),
    "34 latency 1e308": (put("observations", 0, "latency_s", 1e308), "latency_s"),
    "34 preference 3": (put("observations", -1, "preference", 3), "preference"),
    "34 time 1e308": (put("decision", "time_s", 1e308), "time_s"),
    "34 time -1e308 of an observation": (put("observations", 0, "time_s", -1e308), "time_s"),
    "34 outcome's cost -1": (put("outcome", "cost_usd", -1.0), "cost_usd"),
    "34 outcome's latency -1": (put("outcome", "latency_s", -1.0), "latency_s"),
    "34 outcome's time 1e308": (put("outcome", "time_s", 1e308), "time_s"),
    "34 control: outcome's status": (put("outcome", "status", "splendid"), "splendid"),
    "34 feedback's quality 2": (put("feedback", 0, "quality", 2.0), "quality"),
    "34 feedback's weight 1e9": (put("feedback", 0, "weight", 1e9), "weight"),
    "34 feedback's lesson": (column("feedback", "lessons", "quality", 1e308), "quality"),
    "34 feedback's signals": (put("feedback", 0, "signals", {"quality_score": "much"}), "signals"),
    "34 revision 0": (put("feedback", 0, "revision", 0), "revision"),
    "34 no decision": (put("decision", None), "decision"),
    "36 a model's name of a megabyte": (
        both(put("outcome", "model", "m" * 1_000_000), put("decision", "policy", "p" * 1_000_000)),
        "characters",
    ),
}


def spoilt(exported: Path, folder: Path, change: Callable[[Data], None]) -> str:
    """The export with its sixth line changed."""
    lines = (exported / "ledger.jsonl").read_text().splitlines()
    data = json.loads(lines[5])
    change(data)
    lines[5] = json.dumps(data)
    (folder / "bad.jsonl").write_text("\n".join(lines))
    return "bad.jsonl"


def nothing_kept(folder: Path) -> bool:
    tables = ("decisions", "outcomes", "feedback", "observations")
    there = {name for (name,) in rows(folder, "SELECT name FROM sqlite_master")}
    return all(rows(folder, f"SELECT count(*) FROM {table}") == [(0,)] for table in tables if table in there)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_that_cannot_be_right_is_named_and_nothing_is_kept(exported: Path, tmp_path: Path, name: str) -> None:
    change, field = HOSTILE[name]
    done = cli(tmp_path, "import", spoilt(exported, tmp_path, change))
    text = said(done)
    assert done.returncode == 1, text
    assert "line 6" in text
    assert field in text
    assert nothing_kept(tmp_path)


def test_34_a_decision_that_stands_twice_in_a_file(exported: Path, tmp_path: Path) -> None:
    lines = (exported / "ledger.jsonl").read_text().splitlines()
    (tmp_path / "twice.jsonl").write_text("\n".join([*lines, lines[3]]))
    done = cli(tmp_path, "import", "twice.jsonl")
    assert done.returncode == 1
    assert f"line {len(lines) + 1}" in said(done)
    assert nothing_kept(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("34 a list", b"[1]"),
        ("34 a number", b"1"),
        ("34 control: no JSON", b"{"),
        ("34 control: NaN", b'{"decision": NaN}'),
        ("34 control: bytes", b"\xff\xfe"),
        ("34 control: deep", b"[" * 100_000),
    ],
)
def test_a_line_that_is_no_decision(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"format": "conduit ledger", "version": 1}\n' + content + b"\n")
    done = cli(tmp_path, "import", "bad.jsonl")
    assert done.returncode == 1, name
    text = said(done)
    assert "line 2" in text
    assert "indices" not in text, "in plain words"
    assert "subscriptable" not in text


def test_34_parquet_is_judged_alike(exported: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(exported / "ledger.parquet")
    bad = [0.5] * 5 + [-1.0] + [0.5] * (table.num_rows - 6)
    place = table.schema.get_field_index("propensity")
    pq.write_table(table.set_column(place, table.schema.field(place), [bad]), tmp_path / "bad.parquet")
    done = cli(tmp_path, "import", "bad.parquet")
    assert done.returncode == 1
    text = said(done)
    assert "row 6" in text
    assert "propensity" in text
    assert nothing_kept(tmp_path)


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.parquet"])
def test_what_an_export_holds_is_taken_and_is_believed(exported: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(exported / name, tmp_path)
    done = cli(tmp_path, "import", name)
    assert done.returncode == 0, said(done)
    assert f"{LINES} decisions read; new: {LINES} decisions" in said(done)
    with StubProvider() as stub, gateway(tmp_path, stub.base_url) as running:
        until(lambda: running.get("/v1/stats").json["quality_metrics"]["rated"] == LINES)
        assert running.get("/v1/stats").json.get("set_aside") == 0
