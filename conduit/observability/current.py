"""The request that is being served: events carry no name of it, and what listens to them must know whose they are."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Current:
    """Grows while the request runs."""

    away_s: float | None = None
    """As in events.Served."""


CURRENT: ContextVar[Current | None] = ContextVar("conduit_current", default=None)
"""Of the running task. Set by the outermost layer, for which it is the only road to a listener."""
