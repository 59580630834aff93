"""The SQLite ledger of what waits: whole appends or none, whatever happened to it."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conduit.core.storage import Entry
from conduit.stores.files import spool as module
from conduit.stores.files.spool import SpoolFile, SpoolFull
from conduit.stores.files.spool_writer import left_behind
from conduit.stores.sql import rows
from conduit.stores.sql.archive import SqlArchive
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.rows import Rows
from tests.unit.stores.entries import decision, feedback, name, observation, outcome

MOST = 10**6


def append(*entries: Entry) -> Rows:
    return [rows.row(entry) for entry in entries]


def decisions(*numbers: int) -> list[Rows]:
    return [append(decision(number)) for number in numbers]


def ids(appends: Sequence[Rows]) -> list[object]:
    return [row.get("id") for appended in appends for _, row in appended]


def all_of(file: SpoolFile) -> list[Rows]:
    found = []
    while some := file.peek(100):
        found += some
        file.advance()
    return found


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    file = SpoolFile.make(tmp_path / "folder", "mine", most_bytes=MOST)
    yield file
    file._disconnect()


def orphan(path: Path) -> SpoolFile:
    """Adopted: its writer is gone."""
    found = SpoolFile.adopt(path)
    assert found is not None
    return found


def test_appends_are_read_in_their_order_and_passed_one_batch_at_a_time(file: SpoolFile) -> None:
    file.append(decisions(1, 2))
    file.append(decisions(3))
    assert ids(file.peek(2)) == [name(1), name(2)] == ids(file.peek(2))
    file.advance()
    assert ids(file.peek(2)) == [name(3)]
    file.advance()
    assert file.peek(2) == []
    file.append(decisions(4))
    assert ids(file.peek(2)) == [name(4)]


def test_rows_come_back_as_they_went_in_each_in_its_append(file: SpoolFile) -> None:
    given = [
        append(decision(1, routed=False, prompt="ü\u2713"), outcome(1), observation(1), observation(1)),
        append(outcome(2, cost_usd=None, measured=True), observation(2, quality=None), feedback(2)),
        append(decision(2, prompt_hash=None, key_id=None)),
    ]
    file.append(given)
    found = file.peek(9)
    assert [sorted(each, key=repr) for each in found] == [sorted(each, key=repr) for each in given]
    assert {type(row["routed"]) for each in found for table, row in each if table.name == "decisions"} == {bool}


def test_what_does_not_fit_is_refused_whole_and_what_was_there_stays(tmp_path: Path) -> None:
    file = SpoolFile.make(tmp_path, "mine", most_bytes=3000)
    file.append(decisions(0))
    with pytest.raises(SpoolFull):
        file.append(decisions(*range(1, 9)))
    file.append(decisions(1))
    assert ids(file.peek(9)) == [name(0), name(1)]
    assert 0 < file.size <= 3000
    file.remove()


@pytest.mark.parametrize(
    "wrong", [{"input_tokens": 2**70}, {"domain": object()}, {"propensity": None}, {"id": name(1)}]
)
def test_an_entry_that_cannot_be_kept_takes_its_batch_along_and_leaves_the_rest(
    file: SpoolFile, wrong: dict[str, object]
) -> None:
    file.append(decisions(1))
    with pytest.raises((OverflowError, sqlite3.ProgrammingError, sqlite3.IntegrityError)):
        file.append([*decisions(2), append(decision(3, **wrong))])
    file.append(decisions(4))
    assert ids(all_of(file)) == [name(1), name(4)]


def test_it_is_for_its_owner_alone_with_its_log(file: SpoolFile) -> None:
    file.append(decisions(1))
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()}
    assert modes == {".spooled": 0o600, ".spooled-wal": 0o600}


LIVING = """
import sys
from pathlib import Path
from tests.unit.stores.test_spool import SpoolFile, decisions
file = SpoolFile.make(Path(sys.argv[1]), "other", most_bytes=10**6)
for number in range(3):
    file.append(decisions(number))
print("there", flush=True)
sys.stdin.read()
"""


def test_a_living_process_keeps_its_file_and_a_killed_ones_goes_to_one_heir(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIVING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "there\n"
        (path,) = left_behind(tmp_path)
        assert SpoolFile.adopt(path) is None
        living.send_signal(signal.SIGKILL)
    heir = orphan(path)
    assert SpoolFile.adopt(path) is None
    assert heir.whole
    assert ids(all_of(heir)) == [name(0), name(1), name(2)]
    heir.remove()
    assert list(tmp_path.iterdir()) == []
    assert SpoolFile.adopt(path) is not None or not path.exists()


def test_what_is_empty_is_taken_away_at_the_end_and_the_rest_stays(tmp_path: Path) -> None:
    idle, busy = (SpoolFile.make(tmp_path, name, most_bytes=MOST) for name in ("idle", "busy"))
    busy.append(decisions(1))
    idle.close()
    busy.close()
    assert [path.name for path in tmp_path.iterdir()] == ["busy.spooled"]
    assert left_behind(tmp_path) == [busy.path]
    heir = orphan(busy.path)
    assert (heir.whole, ids(all_of(heir))) == (True, [name(1)])
    heir.remove()


def test_a_file_in_the_making_is_adopted_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "new.spooled").touch()
    (tmp_path / "conduit.db").write_text("a database that is no spool")
    assert left_behind(tmp_path) == []


def test_a_file_that_was_removed_takes_nothing_more_and_gives_back_what_it_has(file: SpoolFile) -> None:
    file.append(decisions(1))
    file.path.unlink()
    with pytest.raises(FileNotFoundError):
        file.append(decisions(2))
    assert ids(all_of(file)) == [name(1)]


def test_a_long_log_is_cut_off_and_nothing_is_lost_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LOG_BYTES", 50_000)
    path, raw = _killed(tmp_path, [(n,) for n in range(60)])
    assert len(raw["m.spooled"]) > 30_000
    assert 60_000 > len(raw["m.spooled-wal"]) > 0
    heir = orphan(path)
    assert (heir.whole, ids(all_of(heir))) == (True, [name(n) for n in range(60)])
    heir.remove()


async def test_it_is_a_ledger_of_the_same_schema(tmp_path: Path) -> None:
    """Whatever reads a ledger reads a file that was set aside."""
    file = SpoolFile.make(tmp_path, "mine", most_bytes=MOST)
    file.append([append(decision(1)), append(outcome(1), observation(1))])
    file.close()
    ledger = SqlLedger(f"sqlite:///{file.path}")
    await ledger.open()
    (whole,) = await SqlArchive(ledger.database).page()
    assert (whole.decision.id, whole.outcome, len(whole.observations)) == (name(1), outcome(1), 1)
    await ledger.close()


# ------------------------------------------------------------------ damage


def _killed(folder: Path, batches: Sequence[Sequence[int]]) -> tuple[Path, dict[str, bytes]]:
    """A file as a process leaves it that is killed after these; and what is in it."""
    folder.mkdir(exist_ok=True)
    file = SpoolFile.make(folder / "living", "m", most_bytes=MOST)
    for batch in batches:
        file.append(decisions(*batch))
    raw = {path.name: path.read_bytes() for path in file.path.parent.iterdir()}
    file._disconnect()
    for each, content in raw.items():
        (folder / each).write_bytes(content)
    return folder / file.path.name, raw


BATCHES = [(0, 1), (2,), (3, 4)]
MARKS = [0, 2, 3, 5]
"""How many there are after each of them."""


@settings(deadline=None)
@given(share=st.floats(0, 1))
def test_killed_in_mid_write_it_has_all_whole_batches(share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path, raw = _killed(tmp_path_factory.mktemp("spool"), BATCHES)
    log = path.with_name(path.name + "-wal")
    size = int(len(raw[log.name]) * share)
    os.truncate(log, size)
    heir = orphan(path)
    found = ids(all_of(heir))
    assert heir.whole  # what is missing of a write was never acknowledged
    assert found == [name(n) for n in range(len(found))]
    assert len(found) in MARKS
    assert share < 1 or len(found) == 5
    heir.remove()


@settings(deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(share=0.9681533048485261, bit=0)  # the mark of the last commit
def test_a_flipped_bit_in_the_log_is_noticed_and_what_stands_before_it_is_kept(
    share: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, raw = _killed(tmp_path_factory.mktemp("spool"), BATCHES)
    log = path.with_name(path.name + "-wal")
    content = bytearray(raw[log.name])
    content[int(len(content) * share)] ^= 1 << bit
    log.write_bytes(content)
    heir = orphan(path)
    found = ids(all_of(heir))
    assert found == [name(n) for n in range(len(found))]
    assert len(found) in MARKS
    assert heir.whole == (len(found) == 5)
    kept = heir.set_aside()
    assert kept.with_name(kept.name + "-wal").read_bytes() == content
    assert left_behind(path.parent) == []


@pytest.mark.parametrize("bit", range(8 * 24))
def test_a_flipped_bit_in_the_head_of_the_log_is_noticed(bit: int, tmp_path: Path) -> None:
    """Wherever SQLite refuses the log for it."""
    path, raw = _killed(tmp_path, BATCHES)
    log = path.with_name(path.name + "-wal")
    content = bytearray(raw[log.name])
    content[bit // 8] ^= 1 << bit % 8
    log.write_bytes(content)
    heir = orphan(path)
    assert heir.whole == (len(ids(all_of(heir))) == 5)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_set_aside_and_kept(tmp_path: Path, content: bytes) -> None:
    path, raw = _killed(tmp_path, BATCHES)
    path.write_bytes(content)
    log = path.with_name("m.spooled-wal")
    if content:
        log.unlink()
    (found,) = left_behind(tmp_path)
    heir = orphan(found)
    assert (heir.whole, heir.peek(9)) == (False, [])
    kept = heir.set_aside()
    assert kept.read_bytes() == content
    if not content:  # SQLite would have deleted it
        assert kept.with_name("m.damaged-wal").read_bytes() == raw["m.spooled-wal"]


@settings(deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(share=0.9681533048485261, bit=0)  # the mark of the last commit
def test_a_flipped_bit_in_the_file_proper_is_noticed_or_alters_nothing(
    share: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite has no checksums there."""
    file = SpoolFile.make(tmp_path_factory.mktemp("spool"), "mine", most_bytes=MOST)
    given = decisions(*range(20))
    file.append(given)
    file.close()
    content = bytearray(file.path.read_bytes())
    content[int(len(content) * share)] ^= 1 << bit
    file.path.write_bytes(content)
    heir = orphan(file.path)
    found: list[Rows] = []
    try:
        found = all_of(heir)
    except ValueError:
        heir.set_aside()
    else:
        assert found == given or not heir.whole
        heir.remove()
    assert all(append in given for append in found)


def test_garbage_over_the_file_proper_is_mended_from_the_log(tmp_path: Path) -> None:
    path, _ = _killed(tmp_path, BATCHES)
    path.write_bytes(b"garbage" * 1000)
    heir = orphan(path)
    assert ids(all_of(heir)) == [name(n) for n in range(5)]
    heir.remove()


def test_a_truncated_file_is_set_aside_and_what_can_be_read_is_read(tmp_path: Path) -> None:
    file = SpoolFile.make(tmp_path, "mine", most_bytes=MOST)
    for number in range(0, 200, 5):
        file.append(decisions(*range(number, number + 5)))
    file.close()
    os.truncate(file.path, file.path.stat().st_size * 9 // 10)
    heir = orphan(file.path)
    assert not heir.whole
    for number in range(50):
        assert ids(heir.peek(1)) == [name(number)]
        heir.advance()
    with pytest.raises(ValueError, match=r"mine\.spooled: "):
        all_of(heir)
    assert heir.set_aside().exists()


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.unit.stores.test_spool import SpoolFile, all_of, append, decision, decisions, ids
file = SpoolFile.make(Path(sys.argv[1]), "mine", most_bytes=10**9)
file.append(decisions(0))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (file.path.with_name("mine.spooled-wal").stat().st_size + 20_000, hard))
for number, size in ((1, 30_000), (2, 30_000), (3, 10), (4, 30_000)):
    try:
        file.append([append(decision(number, prompt="x" * size))])
    except OSError as error:
        print(number, type(error).__name__)
print(ids(file.peek(9)))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
if len(sys.argv) > 2:
    file.append([append(decision(5, prompt="x" * 30_000))])
print("end", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("more", [(), ("room again",)])
def test_a_disk_that_is_full_in_mid_write_loses_nothing_that_was_there(tmp_path: Path, more: Sequence[str]) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout is not None
        said = [living.stdout.readline().strip() for _ in range(5)]
        living.send_signal(signal.SIGKILL)
    there = [name(0), name(3)]
    assert said == ["1 OSError", "2 OSError", "4 OSError", str(there), "end"]
    (path,) = left_behind(tmp_path)
    heir = orphan(path)
    assert (heir.whole, ids(all_of(heir))) == (True, [*there, name(5)] if more else there)
    heir.remove()
