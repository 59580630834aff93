"""Every seam on two pages: what the gateway needs of the outside world, and nothing of how it is done. What is kept
lies in storage.py, all else here."""

from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from conduit.core.admission import Admission
from conduit.core.events import Event
from conduit.core.keys import Limits
from conduit.routing.catalogue import Model

# ------------------------------------------------------------------ providers


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one call of a model may take. No part is allowed more than the whole."""

    total_s: float = 600.0
    """From the call to the end of the answer."""
    connect_s: float = 10.0
    first_content_s: float = 120.0
    """To the first event of a stream that has content: comments and roles are none."""
    idle_s: float = 60.0
    """Between two pieces of a stream, of whatever kind."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent to a provider: the caller's own body, whose unknown fields stay untouched."""

    model: Model
    body: Mapping[str, object]
    timeouts: Timeouts
    headers: Mapping[str, str]
    """Trace context and request id, to be sent on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: `body` as the provider sent it, and the same parsed."""

    body: bytes
    data: Mapping[str, object]


class Frame(NamedTuple):
    """One server-sent event: `raw` as the provider sent it (empty: not for the caller), and its JSON, if it has any."""

    raw: bytes
    data: Mapping[str, object] | None


class Provider(Protocol):
    """Somebody who runs models. Raises UpstreamError and its children, and no other exception."""

    async def complete(self, call: Call) -> Answer: ...

    def stream(self, call: Call) -> AsyncGenerator[Frame]:
        """Frames up to and without ``[DONE]``. Raises UpstreamError when the stream breaks off unfinished."""
        ...

    async def embed(self, call: Call) -> Answer: ...

    async def close(self) -> None: ...


# ------------------------------------------------------------------ limits


class Window(Protocol):
    """Counts what callers do. Answers, or raises WindowUnavailable and nothing else, within a tenth of a second."""

    async def open(self) -> None:
        """Gets ready, so that the first caller does not wait for it."""
        ...

    async def enter(self, caller: str, visit: str, limits: Limits, tokens: int = 0) -> Admission:
        """Lets one more request in, or refuses it without a trace. `visit` is its name, unique over all processes.

        Where half of the limit of tokens is free after it, sets aside `tokens` as `hold` does, to save that question.
        """
        ...

    async def hold(self, caller: str, visit: str, tokens: int, limit: int) -> Admission:
        """Sets aside `tokens`, if they fit under the `limit` with all that was taken and set aside within the window;
        else refuses, without a trace. They count until the request leaves, and no longer than the window, and are in
        the place of those that the same visit set aside before."""
        ...

    async def lower(self, caller: str, visit: str, tokens: int) -> None:
        """No more than so many of those that the visit set aside still are. Neither raises nor is waited for, as
        `leave`."""
        ...

    async def renew(self, caller: str, visits: Collection[str]) -> None:
        """These requests of the caller have not ended: where it matters how many run, they still do."""
        ...

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        """The request has ended, and took so many tokens, in the place of those that were set aside. That is known to
        who asks here next, and elsewhere soon. Raises nothing: it is not waited for, and may be lost with what is
        shared."""
        ...

    async def close(self) -> None: ...


class LocalWindow(Window, Protocol):
    """A Window of this process, which takes over when a shared one does not answer."""

    def heard(self, caller: str, requests: int) -> None:
        """The shared one has counted so many of the caller's requests just now."""
        ...


# ------------------------------------------------------------------ telemetry


class Listener(Protocol):
    """Told of what happens; must be quick, and must not raise."""

    def __call__(self, event: Event, /) -> None: ...
