"""Structured logs: set up once by an entrance; prompts and secrets never reach them."""

import logging
import sys
from typing import Any, Literal

import structlog

from conduit.core.events import Degraded, Event

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def setup_logs(*, level: str, form: Literal["auto", "console", "json"]) -> None:
    """All of the process's logs go to standard error, through one renderer."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    renderer = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_library(shared, renderer, LEVELS[level])


def _adopt_standard_library(shared: list[Any], renderer: Any, level: int) -> None:
    """uvicorn and the libraries speak `logging`; its own access lines would say ours twice."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers, root.level = [handler], max(level, logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True


class LogListener:
    """Writes what degrades; everything else is in the access line already."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("conduit")

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, Degraded):
            self._log.warning("degraded", what=event.what, why=event.why)
