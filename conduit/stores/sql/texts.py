"""Texts of prompts on their way to where they are kept: redacted first, and not on the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from conduit.core.storage import Cap, Entry
from conduit.routing.decision import Decision
from conduit.stores.sql.writer import Append

Redact = Callable[[str], str]


class Redacting:
    """Called with what is about to be written, to the database or to the spool."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact

    async def __call__(self, batch: list[Append]) -> Sequence[Append]:
        if not any(map(_has_text, batch)):
            return batch
        return await asyncio.to_thread(lambda: [self._redacted(each) if _has_text(each) else each for each in batch])

    def _redacted(self, append: Append) -> Append:
        return replace(append, entries=tuple(map(self._entry, append.entries)))

    def _entry(self, entry: Entry | Cap) -> Entry | Cap:
        """What cannot be redacted is not kept."""
        if not isinstance(entry, Decision) or entry.prompt is None:
            return entry
        try:
            return replace(entry, prompt=self._redact(entry.prompt))
        except Exception:  # noqa: BLE001  a text is worth no decision
            return replace(entry, prompt=None)


def _has_text(append: Append) -> bool:
    return any(isinstance(entry, Decision) and entry.prompt is not None for entry in append.entries)
