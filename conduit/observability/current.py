"""The request that is being served, for listeners: most events carry no name of it (docs/decisions/0070)."""

from contextvars import ContextVar

from conduit.core.request_state import RequestState

CURRENT: ContextVar[RequestState | None] = ContextVar("conduit_current", default=None)
"""Of the running task; set by the outermost layer, and read by listeners only."""
