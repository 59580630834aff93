"""Kept payloads: read, redacted, bounded, a file a day, and pruned."""

from pathlib import Path

import orjson
import pytest

from conduit.core.events import Degraded, Event
from conduit.observability.logging.payloads import WAITING, Payload, PayloadLog
from conduit.observability.logging.redaction import Redactor
from conduit.routing.errors import ConfigurationError
from conduit.testing import StillClock

DAY_S = 86_400.0
NOON_S = 1_750_000_000.0 // DAY_S * DAY_S + DAY_S / 2


class RefreshingValue:
    """A log in a folder, and what it wrote."""

    def __init__(self, folder: Path, *, most: int = 1000) -> None:
        self.clock, self.events, self.folder = StillClock(NOON_S), list[Event](), folder
        self.log = PayloadLog(
            folder, days=2, most=most, redactor=Redactor(), clock=self.clock, listener=self.events.append
        )

    def lines(self) -> list[dict[str, object]]:
        return [orjson.loads(line) for path in sorted(self.folder.glob("*")) for line in path.read_bytes().splitlines()]


@pytest.fixture
def kept(tmp_path: Path) -> RefreshingValue:
    return RefreshingValue(tmp_path / "payloads")


def frames(*texts: str) -> bytes:
    deltas = [{"choices": [{"index": 0, "delta": {"content": text}}], "id": "c-1"} for text in texts]
    return b"".join(b"data: " + orjson.dumps(delta) + b"\n\n" for delta in deltas) + b"data: [DONE]\n\n"


async def test_both_sides_are_kept_redacted(kept: RefreshingValue) -> None:
    """Before the log has stopped everything is written."""
    kept.log.start()
    kept.log.put(Payload({"request_id": "r"}, b'{"prompt": "I am a@b.example"}', b'{"data": "sk-abcdefghijklmnop"}'))
    await kept.log.stop()
    assert kept.lines() == [{"request_id": "r", "request": {"prompt": "I am [email]"}, "answer": {"data": "[key]"}}]


async def test_a_stream_is_put_together_before_it_is_redacted(kept: RefreshingValue) -> None:
    """A secret may come in pieces."""
    kept.log.start()
    kept.log.put(Payload({}, b"{}", frames("mail j", "ane@ma", "il.exa", "mple now")))
    await kept.log.stop()
    (line,) = kept.lines()
    assert line["answer"] == {"choices.0.delta.content": "mail [email] now", "id": "c-1"}


@pytest.mark.parametrize("raw", [b"not json a@b.example", b'data: {"half": "a@b.exam', b""])
async def test_what_cannot_be_read_is_not_kept(kept: RefreshingValue, raw: bytes) -> None:
    """It could not be redacted with certainty; its size is told."""
    kept.log.start()
    kept.log.put(Payload({}, raw, b"{}"))
    await kept.log.stop()
    assert kept.lines()[0]["request"] == {"unreadable_bytes": len(raw)}


async def test_files_are_of_a_day_private_and_removed_when_old(kept: RefreshingValue) -> None:
    """What is not ours in the folder stays."""
    kept.folder.mkdir()
    (kept.folder / "payloads-2001-01-01.jsonl").write_text("{}")
    (kept.folder / "letter.txt").write_text("{}")
    kept.log.start()
    for _ in range(4):
        kept.log.put(Payload({}, b"{}", b"{}"))
        kept.log._write([kept.log._waiting.pop()])
        kept.clock.at_s += DAY_S
    await kept.log.stop()
    names = sorted(path.name for path in kept.folder.glob("payloads*"))
    assert len(names) == 3
    assert names[0] > "payloads-2001-01-01.jsonl"
    assert (kept.folder / "letter.txt").exists()
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.folder.glob("payloads*"))


async def test_too_many_are_let_go_and_told(kept: RefreshingValue) -> None:
    """No request waits for a disk."""
    kept.log.start()
    for _ in range(WAITING + 3):
        kept.log.put(Payload({}, b"{}", b"{}"))
    assert kept.events == [Degraded("payloads", "too many wait to be written")] * 3
    await kept.log.stop()
    assert len(kept.lines()) == WAITING


async def test_a_disk_that_refuses_is_told_and_tried_again(kept: RefreshingValue) -> None:
    """Requests go on."""
    kept.log.start()
    today = next(kept.folder.iterdir())
    today.unlink()
    today.mkdir()
    kept.log.put(Payload({}, b"{}", b"{}"))
    await kept.log.stop()
    assert Degraded("payloads", "IsADirectoryError") in kept.events


async def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """And is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="PAYLOAD_LOG_FOLDER"):
        RefreshingValue(tmp_path / "file").log.start()
