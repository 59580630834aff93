"""Telemetry put together: who listens, where it counts, and how it is shown."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from conduit.core.errors import ConfigurationError
from conduit.core.events import Degraded, Event
from conduit.core.protocols import Clock, Ids, Listener
from conduit.observability.counting import CountingListener
from conduit.observability.logs import LogListener
from conduit.observability.notes import note_down
from conduit.observability.prometheus import exposition
from conduit.observability.rendezvous import clear_away_old_ones, is_private, meeting_place
from conduit.observability.samples import Samples

with suppress(ImportError):  # an operating system without file locks: then each process counts for itself
    from conduit.observability.gathering import Gathering


class Telemetry:
    """Told of everything. It is made before the server's processes part, and begins to count in each of them.

    `folder` is where workers count together; empty finds a place of their own.
    """

    def __init__(self, *, clock: Clock, ids: Ids, folder: str = "") -> None:
        self._clock, self._ids, self._folder = clock, ids, folder
        self._listeners: tuple[Listener, ...] = (note_down, LogListener())
        self._gathering: Gathering | None = None
        self.samples: Samples | None = None

    def __call__(self, event: Event, /) -> None:
        for listener in self._listeners:
            listener(event)

    def start(self) -> None:
        """Raises ConfigurationError when `folder` cannot be used."""
        self.samples = samples = self._joined()
        self._listeners = (*self._listeners, CountingListener(samples, self._clock))
        if self._gathering is None:
            self(Degraded("metrics", "no folder in which workers could count together: each shows its own"))

    def stop(self) -> None:
        samples, self.samples = self.samples, None
        self._listeners = self._listeners[:2]
        if samples is not None and self._gathering is not None:
            self._gathering.leave(samples)

    async def exposition(self) -> str:
        """What Prometheus reads; of all workers."""
        assert self.samples is not None, "started"
        if self._gathering is None:
            return exposition(dict(self.samples.read()))
        return exposition(await asyncio.to_thread(self._gathering.read))

    def _joined(self) -> Samples:
        name = f"{os.getpid()}.{self._ids.new('samples')}"
        if self._folder:
            self._gathering = Gathering(Path(self._folder), kept=True)
            try:
                return self._gathering.join(name)
            except OSError as error:
                raise ConfigurationError(f"METRICS_FOLDER: {self._folder}: {error.strerror}") from None
        place = meeting_place() if "Gathering" in globals() else None
        if place is None or not is_private(place):
            return Samples()
        clear_away_old_ones()
        with suppress(OSError):
            self._gathering = Gathering(place, kept=False)
            return self._gathering.join(name)
        self._gathering = None
        return Samples()
