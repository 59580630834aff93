"""Idempotency-Key: a request that is sent again is answered again, and not done again."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from conduit.api.body import session_of
from conduit.api.scopes import Endpoint, caller_id
from conduit.assemble.conduit import Conduit
from conduit.core.idempotency import HEADER, Claim, StoredAnswer, checked_name, digest_of
from conduit.core.request_state import state_of
from conduit.gateway.request.complete import DONE
from conduit.gateway.request.idempotency import Idempotency

REPLAYED = "idempotent-replayed"
UNKEPT = {"content-length"}
"""Of the headers: what the server makes itself."""


class AnswerStream(StreamingResponse):
    """Server-sent events; `whole` tells, at their end, whether they came to a proper one."""

    def __init__(
        self, frames: AsyncIterable[bytes], *, whole: Callable[[], bool], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(frames, headers=headers, media_type="text/event-stream")
        self.whole = whole

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Ends when the caller leaves. Starlette's own waits for a moment in which the stream waits for something that
        is not there yet, and of a provider that sends as fast as it can there is none."""
        streaming = asyncio.create_task(self.stream_response(send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        both = (streaming, leaving)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
            if isinstance(self.body_iterator, AsyncGenerator):  # which may have been waiting for its reader
                await self.body_iterator.aclose()
        for task in both:
            if not task.cancelled():
                task.result()


def once(endpoint: Endpoint) -> Endpoint:
    """The endpoint for callers who may name their request. Only what was answered well is kept: after an error, or
    when the caller left in mid-stream, whoever sends the request again is the first again."""

    @wraps(endpoint)
    async def promised(request: Request) -> Response:
        name = checked_name(request.headers.getlist(HEADER))
        if name is None:
            return await endpoint(request)
        conduit: Conduit = request.app.state.conduit
        digest = digest_of(request.scope["path"], session_of(request) or "", await request.body())
        begun = await conduit.once.begin(owner=caller_id(request) or "", name=name, digest=digest)
        if isinstance(begun, StoredAnswer):
            state_of(request.scope).replayed = True
            return _replayed(begun)
        return await _first(endpoint, request, conduit.once, begun)

    return promised


async def _first(endpoint: Endpoint, request: Request, promises: Idempotency, claim: Claim) -> Response:
    state = state_of(request.scope)
    state.promised = True
    try:
        response = await endpoint(request)
        if isinstance(response, AnswerStream):
            response.body_iterator = _recorded(response.body_iterator, response, promises, claim)
        elif not await promises.keep(claim, _stored(response, bytes(response.body))):
            state.degrade("idempotency")
    except BaseException:  # a caller who left in the middle included
        promises.let_go(claim)
        raise
    return response


async def _recorded(
    frames: AsyncIterable[str | bytes | memoryview], response: AnswerStream, promises: Idempotency, claim: Claim
) -> AsyncGenerator[bytes]:
    """Kept before the last frame leaves: who has seen the end can have it again."""
    pieces: list[bytes] = []
    size, ended = 0, False
    try:
        async for frame in frames:
            piece = bytes(frame) if not isinstance(frame, str) else frame.encode()
            size += len(piece)
            if size <= promises.most:
                pieces.append(piece)
            if piece == DONE and response.whole():
                ended = True
                await promises.keep(claim, _stored(response, b"".join(pieces) if size <= promises.most else None))
            yield piece
    finally:
        if not ended:
            promises.let_go(claim)


def _stored(response: Response, body: bytes | None) -> StoredAnswer:
    headers = [(str(name, "latin-1"), str(value, "latin-1")) for name, value in response.raw_headers]
    return StoredAnswer(response.status_code, tuple(h for h in headers if h[0] not in UNKEPT), body)


def _replayed(stored: StoredAnswer) -> Response:
    response = Response(stored.body, stored.status)
    for name, value in stored.headers:
        response.headers[name] = value
    response.headers[REPLAYED] = "true"
    return response
