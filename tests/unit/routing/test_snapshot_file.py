"""Beliefs in a file are those that were put there, or none."""

import pytest

from conduit.routing.snapshot import Recipe, Snapshot, Unfit, taken
from conduit.routing.snapshot_file import from_file, to_file

SNAPSHOT = taken({"rated": {}}, Recipe("linucb", "hashed-1", 0.5), position=3, time_s=1.5)


def test_a_file_holds_all_of_a_snapshot() -> None:
    assert from_file(to_file(SNAPSHOT)) == SNAPSHOT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b'"x"',
        to_file(SNAPSHOT).replace(b"conduit beliefs", b"else"),
        to_file(SNAPSHOT).replace(b'"policy"', b'"p"'),
        to_file(SNAPSHOT).partition(b"\n")[0],
        to_file(SNAPSHOT).replace(b'"time_s":1.5', b'"time_s":"x"'),
    ],
)
def test_what_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(Unfit):
        from_file(content)


def test_a_changed_byte_is_found_when_it_is_opened() -> None:
    content = bytearray(to_file(SNAPSHOT))
    content[-1] ^= 1
    found = from_file(bytes(content))
    assert isinstance(found, Snapshot)
    assert found.body != SNAPSHOT.body
    assert found.checksum == SNAPSHOT.checksum
