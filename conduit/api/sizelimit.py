"""How much a request may bring, and how long it may take: counted as it arrives, whatever its headers say."""

from itertools import chain

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.envelope import BodyTooSlow, Refused, RequestTooLarge
from conduit.api.paths import declared_size, is_health, routed_path, sent
from conduit.core.protocols import Clock
from conduit.gateway.patience import patiently

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
LARGE_PATHS = frozenset({"/v1/chat/completions", "/v1/embeddings"})
CONTENT_ENCODING = b"content-encoding"
MOST_HEADERS, MOST_HEADER_BYTES = 100, 32_768


class SizeLimit:
    """`small` bytes of body for every path but LARGE_PATHS, which take `large`; all of it within `body_s` seconds.

    A compressed body is refused: nobody needs one here, and it may hold a thousand times what is counted.
    """

    def __init__(self, app: ASGIApp, *, small: int, large: int, body_s: float, clock: Clock) -> None:
        self._app, self._small, self._large, self._body_s, self._clock = app, small, large, body_s, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_health(scope):
            await self._app(scope, receive, send)
            return
        _check_headers(scope)
        if scope["method"] in BODILESS:
            await self._app(scope, receive, send)
            return
        _check_encoding(scope)
        limit = self._large if routed_path(scope) in LARGE_PATHS else self._small
        declared = declared_size(scope)
        if declared > limit:
            raise RequestTooLarge(max_size=limit, actual_size=declared)
        await self._app(scope, self._counting(receive, limit), send)

    def _counting(self, receive: Receive, limit: int) -> Receive:
        """A `receive` that raises RequestTooLarge with the first byte too many, and BodyTooSlow when time is up."""
        read, due_s = 0, self._clock.elapsed_s() + self._body_s
        whole = False

        async def counted() -> Message:
            nonlocal read, whole
            if whole:  # what comes now is that the caller has left, and that may take its time
                return await receive()
            try:
                message = await patiently(receive(), due_s - self._clock.elapsed_s())
            except TimeoutError:
                raise BodyTooSlow(self._body_s) from None
            read += len(message.get("body", b""))
            if read > limit:
                raise RequestTooLarge(max_size=limit, actual_size=read)
            whole = not message.get("more_body", False)
            return message

        return counted


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
