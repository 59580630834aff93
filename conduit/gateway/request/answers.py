"""What the gateway hands to an entrance: a whole answer, or one that has begun."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import orjson

from conduit.core.errors import UpstreamError
from conduit.core.protocols import Answer
from conduit.core.storage import Place
from conduit.gateway.request.cache import NO_LOOK, Look
from conduit.routing.decision import Decision, Outcome


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer and how it came about."""

    answer: Answer
    decision: Decision
    outcome: Outcome
    kept: Place | None
    """Where the decision and its outcome are; None when they could not be kept: the answer is given all the same, and
    says so."""
    look: Look = NO_LOOK
    """Into the cache."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that has begun. `frames` is to be read to its end, or closed."""

    frames: AsyncIterator[bytes]
    decision: Decision
    model: str
    attempts: int
    whole: Callable[[], bool]
    """Whether it has come to its proper end."""
    look: Look = NO_LOOK
    spooled: bool = False
    """Whether it is known by now that the decision waits in the spool."""


def error_frame(error: UpstreamError, model: str) -> bytes:
    """What a stream ends with whose model failed in the middle."""
    body = {
        "error": {
            "message": f"{model} stopped in mid-answer: {error}",
            "type": "upstream_error",
            "param": None,
            "code": "upstream_error",
        },
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"
