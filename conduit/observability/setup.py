"""Telemetry put together: who listens, where it counts, and how it is shown."""

import asyncio
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from conduit.core.events import Degraded, Event
from conduit.core.headers import parsed_headers
from conduit.core.protocols import Listener
from conduit.observability.logging import access_log
from conduit.observability.logging.logs import LogListener
from conduit.observability.metrics.counting import CountingListener, Known
from conduit.observability.metrics.multiprocess_folder import clear_away_old_ones, is_private, meeting_place
from conduit.observability.metrics.samples import Samples
from conduit.observability.tracing.spans import Tracer
from conduit.routing.errors import ConfigurationError
from conduit.routing.protocols import Clock, Ids
from conduit.routing.system import SystemClock, TimeOrderedIds

try:
    from conduit.observability.metrics.multiprocess import Multiprocess

    CAN_SHARE = True
except ImportError:  # an operating system without file locks: then each process counts for itself
    CAN_SHARE = False

if TYPE_CHECKING:
    from conduit.observability.tracing.exporter import Exporter


@dataclass(frozen=True, slots=True)
class Export:
    """What goes to a collector, and where that is."""

    endpoint: str
    headers: str
    """As OpenTelemetry writes them; secret."""
    service: str
    traces: bool = True
    share: float = 1.0
    """Of the traces that nobody began before us."""
    metrics: bool = True
    metrics_every_s: float = 60.0

    def __repr__(self) -> str:
        return f"Export({self.endpoint!r})"


class Telemetry:
    """Told of everything. It is made before the server's processes part, and begins to count in each of them.

    `folder` is where workers count together; empty finds a place of their own. Without an `export` nothing of
    OpenTelemetry is even loaded.
    """

    def __init__(self, *, clock: Clock, ids: Ids, folder: str = "", export: Export | None = None) -> None:
        self._clock, self._ids, self._folder, self._export = clock, ids, folder, export
        self._ears: dict[type, tuple[Listener, ...]] = {}
        self._multiprocess: Multiprocess | None = None
        self._exporter: Exporter | None = None
        self._counting: CountingListener | None = None
        self.samples: Samples | None = None
        self.tracer: Tracer | None = None
        self.known = Known()
        self._listen(access_log.HEARS, access_log.note_down)
        log = LogListener(clock)
        self._listen(log.hears, log)

    def __call__(self, event: Event, /) -> None:
        for listener in self._ears.get(type(event), ()):
            listener(event)

    async def start(self) -> None:
        """Raises ConfigurationError when `folder` or `export` cannot be used."""
        self.samples = samples = self._joined()
        if self._export is not None:
            self._exporter = self._exporting(self._export, samples)
            self._exporter.start()
            if self._export.traces:
                random = Random()  # noqa: S311  names of spans guard nothing
                self.tracer = Tracer(
                    clock=self._clock, random=random, share=self._export.share, export=self._exporter.take
                )
                self._listen(self.tracer.hears, self.tracer)
        self._counting = CountingListener(samples, self._clock, self.known)
        self._listen(self._counting.hears, self._counting)
        if self._multiprocess is None:
            self(Degraded("metrics", "no folder in which workers could count together: each shows its own"))

    async def stop(self) -> None:
        """Send what is left; nothing is counted afterwards."""
        self._ears = {}
        self.catch_up()
        if self._exporter is not None:
            await self._exporter.stop()
        samples, self.samples = self.samples, None
        if samples is not None and self._multiprocess is not None:
            self._multiprocess.leave(samples)

    @property
    def waiting(self) -> int:
        """Spans that are not exported yet."""
        return 0 if self._exporter is None else self._exporter.waiting

    def catch_up(self) -> None:
        """Count what was put off."""
        if self._counting is not None:
            self._counting.catch_up()

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """What Prometheus reads, in a format that it accepts, and that format's content type; of all workers."""
        from conduit.observability.metrics.prometheus import exposition

        self.catch_up()
        assert self.samples is not None, "started"
        together = self._multiprocess
        numbers = dict(self.samples.read()) if together is None else await asyncio.to_thread(together.read)
        return exposition(numbers, accept)

    def _listen(self, hears: Iterable[type], listener: Listener) -> None:
        for kind in hears:
            self._ears[kind] = (*self._ears.get(kind, ()), listener)

    def _exporting(self, export: Export, samples: Samples) -> "Exporter":
        from conduit.observability.tracing.exporter import Destination, Exporter

        try:
            headers = parsed_headers(export.headers)
        except ValueError as error:
            raise ConfigurationError(f"OTEL_EXPORTER_OTLP_HEADERS: {error}") from None
        resource: dict[str, str | int] = {
            "service.name": export.service,
            "service.version": _version(),
            "service.instance.id": self._ids.new("instance"),
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "conduit",
            "telemetry.sdk.version": _version(),
        }
        return Exporter(
            Destination(export.endpoint, headers),
            resource,
            samples=samples,
            numbers_every_s=export.metrics_every_s if export.metrics else None,
            clock=self._clock,
            listener=self,
        )

    def _joined(self) -> Samples:
        name = f"{os.getpid()}.{self._ids.new('samples')}"
        if self._folder:
            self._multiprocess = Multiprocess(Path(self._folder), kept=True)
            try:
                return self._multiprocess.join(name)
            except OSError as error:
                raise ConfigurationError(f"METRICS_FOLDER: {self._folder}: {error.strerror}") from None
        place = meeting_place() if CAN_SHARE else None
        if place is None or not is_private(place):
            return Samples()
        clear_away_old_ones()
        with suppress(OSError):
            self._multiprocess = Multiprocess(place, kept=False)
            return self._multiprocess.join(name)
        self._multiprocess = None
        return Samples()


def setup_telemetry(
    app: Starlette,
    *,
    export: Export | None = None,
    folder: str = "",
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> Telemetry:
    """Telemetry for `app`, which finds it as ``app.state.telemetry``. It is to be started with the app, and stopped."""
    clock = clock or SystemClock()
    telemetry = Telemetry(clock=clock, ids=ids or TimeOrderedIds(clock), folder=folder, export=export)
    app.state.telemetry = telemetry
    return telemetry


def _version() -> str:
    try:
        return version("conduit-router")
    except PackageNotFoundError:
        return "0"
