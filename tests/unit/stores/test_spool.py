"""The file of what waits: whole records or none, whatever happened to it."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.stores.files.spool import HEAD, MAGIC, SpoolFile, SpoolFull, left_behind

MOST = 10_000


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    file = SpoolFile.make(tmp_path / "folder", "mine", most_bytes=MOST)
    yield file
    os.close(file._descriptor)


def orphan(path: Path) -> SpoolFile:
    """Adopted: its writer is gone."""
    found = SpoolFile.adopt(path)
    assert found is not None
    return found


def test_records_are_read_in_their_order_and_passed_one_batch_at_a_time(file: SpoolFile) -> None:
    file.append([b"one", b"two"])
    file.append([b"three"])
    first = file.peek(2)
    assert first == [b"one", b"two"] == file.peek(2)
    file.advance(first)
    assert file.peek(2) == [b"three"]
    file.advance([b"three"])
    assert file.peek(2) == []
    file.clear()
    file.append([b"four"])
    assert (file.peek(2), file.size) == ([b"four"], HEAD.size + 4)


def test_what_does_not_fit_is_refused_whole_and_what_was_there_stays(file: SpoolFile) -> None:
    file.append([b"x" * (MOST - 2 * HEAD.size - 1)])
    for _ in range(2):
        with pytest.raises(SpoolFull):
            file.append([b"y", b"z"])
    file.append([b"y"])
    assert [len(record) for record in file.peek(9)] == [MOST - 2 * HEAD.size - 1, 1]


def test_it_is_for_its_owner_alone(file: SpoolFile) -> None:
    file.append([b"what somebody asked for, by whose key"])
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_living_process_keeps_its_file_and_a_dead_ones_goes_to_one_heir(tmp_path: Path) -> None:
    file = SpoolFile.make(tmp_path, "mine", most_bytes=MOST)
    file.append([b"one"])
    assert SpoolFile.adopt(file.path) is None
    os.close(file._descriptor)
    heir = orphan(file.path)
    assert SpoolFile.adopt(file.path) is None
    assert heir.keep_what_is_whole()
    assert heir.peek(9) == [b"one"]
    late = os.open(file.path, os.O_RDWR)  # somebody who had opened it before it was taken away
    heir.remove()
    assert os.fstat(late).st_nlink == 0
    os.close(late)
    assert left_behind(tmp_path) == []


def test_what_is_empty_is_taken_away_at_the_end_and_the_rest_stays(tmp_path: Path) -> None:
    idle, busy = (SpoolFile.make(tmp_path, name, most_bytes=MOST) for name in ("idle", "busy"))
    busy.append([b"one"])
    idle.close()
    busy.close()
    assert [path.name for path in tmp_path.iterdir()] == ["busy.spool"]
    assert left_behind(tmp_path) == [busy.path]


@given(records=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), data=st.data())
def test_killed_in_mid_write_it_has_all_whole_records(
    records: list[bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _written(tmp_path_factory.mktemp("spool"), records)
    size = path.stat().st_size
    last = HEAD.size + len(records[-1])
    cut = data.draw(st.integers(0, last))
    os.truncate(path, size - cut)
    heir = orphan(path)
    assert heir.keep_what_is_whole()
    assert heir.peek(9) == (records if cut == 0 else records[:-1])
    heir.remove()


@given(place=st.integers(0, 2 * (HEAD.size + 5) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed_and_what_stands_before_it_is_kept(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = [b"first", b"other", b"third"]
    path = _written(tmp_path_factory.mktemp("spool"), records)
    raw = bytearray(path.read_bytes())
    raw[len(MAGIC) + place] ^= 1 << bit
    path.write_bytes(raw)
    heir = orphan(path)
    whole = heir.keep_what_is_whole()
    kept = heir.peek(9)
    assert kept == records[: place // (HEAD.size + 5)]
    if not whole:
        assert heir.set_aside().read_bytes() == raw
    else:
        heir.remove()


def _written(folder: Path, records: list[bytes]) -> Path:
    file = SpoolFile.make(folder, "mine", most_bytes=MOST)
    file.append(records)
    os.close(file._descriptor)
    return file.path


FULL_DISK = """
import resource, sys
from pathlib import Path
from conduit.stores.files.spool import SpoolFile
file = SpoolFile.make(Path(sys.argv[1]), "mine", most_bytes=10**9)
file.append([b"kept"])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for size in (3000, 3000, 10):
    try:
        file.append([b"x" * size])
    except OSError as error:
        print(size, type(error).__name__)
print([len(record) for record in file.peek(9)], file.path.stat().st_size)
"""


def test_a_disk_that_is_full_in_mid_write_loses_nothing_that_was_there(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    said = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["3000 OSError", f"[4, 3000, 10] {len(MAGIC) + 3 * HEAD.size + 3014}"]
