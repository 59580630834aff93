"""What was asked and answered, kept for those who asked for that: redacted, bounded, a file a day, and not for ever."""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.observability.logging.redaction import Redactor
from conduit.routing.errors import ConfigurationError
from conduit.routing.protocols import Clock

NAME = re.compile(r"payloads-(\d{4}-\d\d-\d\d)\.jsonl")
DAY_S = 86_400.0
WAITING = 1000
"""Payloads that may wait to be written; more are let go, and that is announced."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One exchange as it went over the wire, with what may be said of it."""

    about: Mapping[str, object]
    request: bytes
    answer: bytes


class PayloadLog:
    """`folder`/payloads-DAY.jsonl, days being UTC's; those older than `days` are removed. `most` is characters of
    either side. Writes in a thread, behind the requests."""

    def __init__(
        self, folder: Path, *, days: int, most: int, redactor: Redactor, clock: Clock, listener: Listener
    ) -> None:
        self._folder, self._days, self._most, self._redactor = folder, days, most, redactor
        self._clock, self._listener = clock, listener
        self._waiting: list[Payload] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._pruned = ""

    def start(self) -> None:
        """Raises ConfigurationError when the folder cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write([])
        except OSError as error:
            raise ConfigurationError(f"PAYLOAD_LOG_FOLDER: {self._folder}: {error.strerror}") from None
        self._task = asyncio.create_task(self._run(), name="payload log")

    def put(self, payload: Payload) -> None:
        """Never waits."""
        if len(self._waiting) >= WAITING:
            self._listener(Degraded("payloads", "too many wait to be written"))
            return
        self._waiting.append(payload)
        self._news.set()

    async def stop(self) -> None:
        """Write what waits."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        """What cannot be written is announced, and lost."""
        while self._waiting or not self._stopping:
            await self._news.wait()
            self._news.clear()
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, batch)
            except Exception as error:  # noqa: BLE001  a loop in the background: without it nothing more is ever kept
                self._listener(Degraded("payloads", type(error).__name__))

    def _write(self, batch: Sequence[Payload]) -> None:
        """Appended in one piece, so that workers may share a file. Raises OSError."""
        today = datetime.fromtimestamp(self._clock.now_s(), UTC).date().isoformat()
        lines = b"".join(orjson.dumps(self._shown(payload), option=orjson.OPT_APPEND_NEWLINE) for payload in batch)
        fd = os.open(
            self._folder / f"payloads-{today}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(fd, lines)
        finally:
            os.close(fd)
        if today != self._pruned:
            self._prune()
            self._pruned = today

    def _prune(self) -> None:
        oldest = datetime.fromtimestamp(self._clock.now_s() - self._days * DAY_S, UTC).date().isoformat()
        for path in self._folder.iterdir():
            day = NAME.fullmatch(path.name)
            if day is not None and day[1] < oldest:
                path.unlink(missing_ok=True)

    def _shown(self, payload: Payload) -> dict[str, object]:
        return {
            **payload.about,
            "request": self._side(payload.request),
            "answer": self._side(payload.answer),
        }

    def _side(self, raw: bytes) -> object:
        """What cannot be read cannot be redacted with certainty, and is not kept."""
        said = _read(raw)
        return {"unreadable_bytes": len(raw)} if said is None else self._redactor.value(said, most=self._most)


def _read(raw: bytes) -> object:
    """JSON, or the text of a stream put together: a secret may be spread over several frames."""
    if raw.lstrip().startswith(b"data:"):
        return _told(raw)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _told(stream: bytes) -> object:
    parts: dict[str, list[str]] = {}
    for line in stream.split(b"\n"):
        if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
            continue
        try:
            frame = orjson.loads(line[5:])
        except orjson.JSONDecodeError:
            return None
        _collect(frame, parts, "")
    return {name: "".join(texts) for name, texts in parts.items()}


def _collect(value: object, parts: dict[str, list[str]], name: str) -> None:
    """Texts of all frames by where they stand: of choice 1, `choices.1.delta.content`."""
    if isinstance(value, dict):
        for each, inner in value.items():
            _collect(inner, parts, f"{name}.{each}" if name else each)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _collect(inner, parts, f"{name}.{inner.get('index', i) if isinstance(inner, dict) else i}")
    elif isinstance(value, str):
        texts = parts.setdefault(name, [])
        if name.rpartition(".")[2] in {"content", "arguments", "refusal", "reasoning_content", "message"} or not texts:
            texts.append(value)
