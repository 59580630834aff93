"""The request that is being served: events carry no name of it, and what listens to them must know whose they are."""

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Current:
    """Grows while the request runs."""

    note: dict[str, object] = field(default_factory=dict)
    """What its access line will say beside the HTTP facts; never a prompt, never a secret."""
    away_s: float | None = None
    """As in events.Served."""


CURRENT: ContextVar[Current | None] = ContextVar("conduit_current", default=None)
"""Of the running task. Set by the outermost layer, for which it is the only road to a listener."""
