"""Structured logs: set up once by an entrance; prompts and secrets never reach them."""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from math import floor
from typing import Any, Literal

import orjson
import structlog

from conduit.core.events import (
    Capped,
    Degraded,
    Drifted,
    Event,
    FeaturesChanged,
    FeedbackCapped,
    Followed,
    ModelsListed,
    NotJudged,
    SetAside,
    SnapshotRefused,
)
from conduit.observability.logging.repeats import Repeats
from conduit.routing.protocols import Clock
from conduit.routing.system import SystemClock

FOLLOWER = "follower"
"""What degrades when beliefs cannot follow the ledger; what reads all the time also sees that it can read again."""
ONE_BY_ONE, MOST_OF_AN_ID, MOST_NAMES = 100, 80, 10
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def place(error: BaseException) -> str:
    """Type, file and line of where it was raised; never its text, which may quote a prompt."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"
    return f"{type(error).__name__} at {where}"


def _place_for_traceback(_logger: object, _method: str, event: Any) -> Any:
    """Of exceptions that libraries log."""
    raised = event.pop("exc_info", None)
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["where"] = place(error)
    return event


class Stamp:
    """Puts in when an event was logged, in UTC to the microsecond: as structlog does, but writes each second once."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._written = clock, ""
        self._second: int | None = None

    def __call__(self, _logger: object, _method: str, event: Any) -> Any:
        now_s = self._clock.now_s()
        second = floor(now_s)
        if second != self._second:
            self._second, self._written = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        event["timestamp"] = f"{self._written}.{int((now_s - second) * 1e6):06d}Z"
        return event


def _text(event: Any, **how: Any) -> str:
    return orjson.dumps(event, **how).decode()


def setup_logs(*, level: str, form: Literal["auto", "console", "json"]) -> None:
    """All of the process's logs go to standard error, through one renderer."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [structlog.stdlib.add_log_level, Stamp(SystemClock())]
    renderer = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(serializer=_text)
    raw = getattr(sys.stderr, "buffer", None)
    quick = not console and raw is not None  # a line for each request: bytes as orjson makes them, and no text between
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=orjson.dumps) if quick else renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(raw) if quick else structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_library(shared, renderer, LEVELS[level])


def _adopt_standard_library(shared: list[Any], renderer: Any, level: int) -> None:
    """uvicorn and the libraries speak `logging`; its own access lines would say ours twice."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _place_for_traceback,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers, root.level = [handler], max(level, logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True


class LogListener:
    """Writes what degrades; everything else is in the access line already. What goes on degrading is written twice a
    minute, and counted by others each time."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._log = log = structlog.get_logger("conduit")
        self._repeats = Repeats(clock or SystemClock())
        self._ears: Mapping[type, Callable[[Any], None]] = {
            Degraded: self._degraded,
            Followed: self._followed,
            Drifted: lambda e: log.warning(
                "drift", model=e.model, signal=e.signal, since_s=round(e.since_s, 3), shift=round(e.shift, 4)
            ),
            SnapshotRefused: lambda e: log.warning("snapshot refused", position=e.position, why=e.why),
            FeaturesChanged: lambda e: log.warning(
                "features changed", features=e.version, replayed=e.replayed, lost=e.lost
            ),
            FeedbackCapped: lambda e: log.warning(
                "feedback capped", key=e.key_id, model=e.model, weight_per_hour=e.weight
            ),
            Capped: lambda e: log.warning("budget exceeded", account=e.account, period=e.period),
            NotJudged: self._not_judged,
            SetAside: self._set_aside,
            ModelsListed: self._listed,
        }

    @property
    def hears(self) -> tuple[type, ...]:
        return tuple(self._ears)

    def __call__(self, event: Event, /) -> None:
        ear = self._ears.get(type(event))
        if ear is not None:
            ear(event)

    def _degraded(self, event: Degraded) -> None:
        if times := self._repeats.times(event.what, event.why):
            self._log.warning("degraded", what=event.what, why=event.why, times=times)

    def _followed(self, _event: Followed) -> None:
        if self._repeats.over(FOLLOWER):
            self._log.warning("recovered", what=FOLLOWER)

    def _set_aside(self, event: SetAside) -> None:
        if event.times <= ONE_BY_ONE or event.times.bit_count() == 1:
            self._log.warning(
                "observation set aside",
                decision=event.decision_id[:MOST_OF_AN_ID],
                position=event.position,
                field=event.field,
                times=event.times,
            )

    def _listed(self, event: ModelsListed) -> None:
        """Counts, and the first few names: a list may be long."""
        some = {"arrived": event.arrived[:MOST_NAMES], "left": event.left[:MOST_NAMES]}
        self._log.info("models listed", provider=event.provider, came=len(event.arrived), went=len(event.left), **some)

    def _not_judged(self, event: NotJudged) -> None:
        if event.times.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ...
            self._log.warning("not judged", decision=event.decision_id, why=event.why, times=event.times)
