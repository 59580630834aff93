"""Files of the format before: drained once, and damaged ones are kept."""

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.stores.files.former_spool import HEAD, MAGIC, FormerSpoolFile
from conduit.stores.files.spool_writer import left_behind
from conduit.stores.sql import rows
from tests.support import former_spool
from tests.unit.stores.entries import decision, observation, outcome

APPENDS = [[decision(n, prompt="ü")] if n % 2 else [outcome(n), observation(n)] for n in range(4)]
RECORDS = former_spool.records(APPENDS)
SIZES = [HEAD.size + len(record) for record in RECORDS]


def orphan(path: Path) -> FormerSpoolFile:
    found = FormerSpoolFile.adopt(path)
    assert found is not None
    return found


def test_its_appends_come_back_in_their_order_and_it_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "dead.spool"
    former_spool.write(path, RECORDS)
    assert left_behind(tmp_path) == [path]
    heir = orphan(path)
    assert heir.whole
    assert heir.peek(3) == [list(map(rows.row, append)) for append in APPENDS[:3]]
    heir.advance()
    assert heir.peek(3) == [list(map(rows.row, APPENDS[3]))]
    heir.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_the_version_before_keeps_its_file_while_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "living.spool"
    former_spool.write(path, RECORDS)
    with path.open("rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        assert FormerSpoolFile.adopt(path) is None
    heir = orphan(path)
    assert FormerSpoolFile.adopt(path) is None
    heir.close()


def test_one_that_is_empty_is_left_alone(tmp_path: Path) -> None:
    former_spool.write(tmp_path / "idle.spool", [])
    assert left_behind(tmp_path) == []


@given(cut=st.integers(0, SIZES[-1]))
def test_killed_in_mid_write_it_has_all_whole_records(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("spool") / "dead.spool"
    former_spool.write(path, RECORDS)
    os.truncate(path, path.stat().st_size - cut)
    heir = orphan(path)
    assert heir.whole
    assert len(heir.peek(9)) == (4 if cut == 0 else 3)
    heir.remove()


@given(place=st.integers(0, sum(SIZES[:2]) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed_and_what_stands_before_it_is_kept(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("spool") / "dead.spool"
    raw = bytearray(former_spool.write(path, RECORDS))
    raw[len(MAGIC) + place] ^= 1 << bit
    path.write_bytes(raw)
    heir = orphan(path)
    whole = heir.whole
    assert len(heir.peek(9)) == int(place >= SIZES[0])
    if whole:
        heir.remove()
    else:
        assert heir.set_aside().read_bytes() == raw
