"""How much a request may bring, and all together, and how long it may take: counted as it arrives, whatever is said."""

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.envelope import BodiesTooMany, BodyTooSlow, Refused, RequestTooLarge
from conduit.api.paths import declared_size, is_health, is_routed, routed_path, sent
from conduit.gateway.request.patience import patiently
from conduit.routing.protocols import Clock

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
LARGE_PATHS = frozenset({"/v1/chat/completions", "/v1/embeddings"})
HOST, CONTENT_ENCODING = b"host", b"content-encoding"
MOST_HEADERS, MOST_HEADER_BYTES = 100, 32_768


class Limit(NamedTuple):
    """Of a body, in bytes, and the setting that says so."""

    size: int
    setting: str


class SizeLimit:
    """`small` bytes of body for every path but LARGE_PATHS, which take `large`; all of it within `body_s` seconds.

    A compressed body is refused: nobody needs one here, and it may hold a thousand times what is counted. A body is
    kept until its request is answered, for it may go to several models: all that are kept have at most `most` bytes.
    """

    def __init__(self, app: ASGIApp, *, small: int, large: int, most: int, body_s: float, clock: Clock) -> None:
        self._app, self._body_s, self._clock, self._room = app, body_s, clock, _Room(most)
        self._small, self._large = Limit(small, "API_MAX_REQUEST_SIZE"), Limit(large, "API_MAX_CHAT_SIZE")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _check_host(scope)
        if is_health(scope):
            await self._app(scope, receive, send)
            return
        _check_headers(scope)
        if scope["method"] in BODILESS:
            await self._app(scope, receive, send)
            return
        _check_encoding(scope)
        path = routed_path(scope)
        limit = self._large if path in LARGE_PATHS else self._small
        declared = declared_size(scope)
        if declared > limit.size and _is_here(path, scope):  # else it is 404, and nobody reads the body
            raise RequestTooLarge(max_size=limit.size, actual_size=declared, setting=limit.setting)
        body = _Body(receive, limit, self._room, self._clock, self._body_s)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._room.taken -= body.read


@dataclass(slots=True)
class _Room:
    """For the bodies of all requests that are not answered yet."""

    most: int
    taken: int = 0

    def take(self, size: int) -> None:
        """Raises BodiesTooMany."""
        self.taken += size
        if self.taken > self.most:
            raise BodiesTooMany(self.most)


class _Body:
    """Of one request: `receive` raises RequestTooLarge with the first byte too many, BodyTooSlow when time is up, and
    BodiesTooMany."""

    __slots__ = ("_clock", "_due_s", "_limit", "_receive", "_room", "_within_s", "read", "whole")

    def __init__(self, receive: Receive, limit: Limit, room: _Room, clock: Clock, within_s: float) -> None:
        self._receive, self._limit, self._room, self._clock = receive, limit, room, clock
        self._within_s, self._due_s = within_s, clock.elapsed_s() + within_s
        self.read, self.whole = 0, False

    async def receive(self) -> Message:
        if self.whole:  # what comes now is that the caller has left, and that may take its time
            return await self._receive()
        try:
            message = await patiently(self._receive(), self._due_s - self._clock.elapsed_s())
        except TimeoutError:
            raise BodyTooSlow(self._within_s) from None
        size = len(message.get("body", b""))
        self.read += size
        if self.read > self._limit.size:
            raise RequestTooLarge(max_size=self._limit.size, actual_size=self.read, setting=self._limit.setting)
        self._room.take(size)
        self.whole = not message.get("more_body", False)
        return message


def _is_here(path: str, scope: Scope) -> bool:
    """Under no router all paths are."""
    app = scope.get("app")
    return app is None or is_routed(path, app.routes)


def _check_host(scope: Scope) -> None:
    """RFC 9112, 3.2: two readers of a request with two hosts, or none, could take it for two different ones."""
    headers, named = scope["headers"], sent(scope)
    if HOST not in named:
        if scope.get("http_version") == "1.1":
            raise Refused(400, "invalid_request", "a request of HTTP/1.1 has one Host header, and this one has none")
    elif len(headers) != len(named) and [name for name, _ in headers].count(HOST) > 1:
        raise Refused(400, "invalid_request", "a request has one Host header, and this one has several")


def _check_headers(scope: Scope) -> None:
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or sum(map(len, chain.from_iterable(headers))) > MOST_HEADER_BYTES:
        told = f"{MOST_HEADERS} headers and {MOST_HEADER_BYTES} bytes of them are accepted"
        raise Refused(431, "headers_too_large", told)


def _check_encoding(scope: Scope) -> None:
    if CONTENT_ENCODING not in sent(scope):
        return
    for name, value in scope["headers"]:
        if name == CONTENT_ENCODING and value.strip().lower() not in {b"", b"identity"}:
            raise Refused(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")
