"""How many bytes of body a path takes: counted as they arrive, whatever Content-Length says."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.envelope import RequestTooLarge

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_DIGITS = 18
"""Of a declared size: more make a number no smaller, and at some thousand Python refuses to read it."""
LARGE_PATHS = frozenset({"/v1/chat/completions"})


class SizeLimit:
    """`small` bytes for every path but LARGE_PATHS, which take `large`."""

    def __init__(self, app: ASGIApp, *, small: int, large: int) -> None:
        self._app, self._small, self._large = app, small, large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in BODILESS:
            await self._app(scope, receive, send)
            return
        limit = self._large if scope["path"] in LARGE_PATHS else self._small
        declared = _declared_size(scope)
        if declared > limit:
            raise RequestTooLarge(max_size=limit, actual_size=declared)
        await self._app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    """A `receive` that raises RequestTooLarge with the first byte too many."""
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise RequestTooLarge(max_size=limit, actual_size=read)
        return message

    return counted


def _declared_size(scope: Scope) -> int:
    """Of Content-Length; 0 when it is missing or no number, and then the count decides."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value[:MOST_DIGITS]) if value.isdigit() else 0
    return 0
