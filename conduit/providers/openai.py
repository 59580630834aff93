"""Any server that speaks OpenAI's API."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from io import BytesIO

from aiohttp import (
    ClientOSError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ServerDisconnectedError,
)

from conduit.core.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.core.protocols import Answer, Call, Frame
from conduit.gateway.request.patience import patiently
from conduit.providers.address import base_of, headers_of
from conduit.providers.bounded import read_at_most
from conduit.providers.failures import closed_unheard, own_words, refusal, told
from conduit.providers.json_text import decode, encode
from conduit.providers.reading import StreamReading, error_of
from conduit.providers.session import REUSED, SharedSession
from conduit.providers.watch import Watch

CHAT, EMBEDDINGS = "chat/completions", "embeddings"
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_REFUSAL_BYTES = 64 * 1024
LINGER_S = 0.1
"""How long to wait for the last bytes after [DONE], without which the connection cannot be used again."""
LARGE_BODY_BYTES = 512 * 1024
TOO_DEEP = b'{"error":{"message":"the request is nested too deeply","type":"invalid_request_error"}}'

LOST = (ClientPayloadError, ClientOSError, ServerDisconnectedError)
"""A connection that broke, in the HTTP client's words."""

Pairs = Iterable[tuple[str, str]]
Body = Mapping[str, object]


class OpenAIProvider:
    """A `session` that is given stays its giver's to close."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        headers: Pairs = (),
        query: Pairs = (),
        usage_in_streams: bool = True,
        session: SharedSession | None = None,
    ) -> None:
        self._base = base_of(base_url, query)
        self._urls = {path: self._base.joinpath(path).with_query(self._base.query) for path in (CHAT, EMBEDDINGS)}
        self._headers = headers_of(self._base, api_key, headers)
        self._usage_in_streams = usage_in_streams
        self._session = session or SharedSession()
        self._owns_session = session is None

    async def complete(self, call: Call) -> Answer:
        return await self._whole(CHAT, call, _is_completion)

    async def embed(self, call: Call) -> Answer:
        return await self._whole(EMBEDDINGS, call, _is_embedding)

    async def stream(self, call: Call) -> AsyncGenerator[Frame, None]:
        body, injected = (
            _asking_for_usage(call.body) if self._usage_in_streams else (_without_options(call.body), False)
        )
        reading = StreamReading(hide_usage=injected)
        asked_s, timeouts = asyncio.get_running_loop().time(), call.timeouts
        within_s = min(timeouts.first_content_s, timeouts.total_s)
        async with self._exchange(CHAT, call, body, within_s=within_s) as response:
            if response.content_type != "text/event-stream":
                raise UpstreamError("garbage")
            with (
                Watch(response, timeouts, asked_s=asked_s, begun=lambda: reading.begun) as watch,
                suppress(*LOST),  # what was said before tells whether anything is missing
            ):
                async for chunk in response.content.iter_any():
                    watch.heard()
                    for frame in reading.feed(chunk):
                        yield frame
                    if reading.done:
                        break
            reading.finish()
            await _linger(response)

    async def close(self) -> None:
        if self._owns_session:
            await self._session.close()

    async def _whole(self, path: str, call: Call, is_sound: Callable[[Body], bool]) -> Answer:
        try:
            body = await patiently(self._read(path, call), call.timeouts.total_s)
        except TimeoutError:
            raise UpstreamTimeout("timed out") from None
        if len(body) > MAX_ANSWER_BYTES:
            raise UpstreamError("answer too long")
        data = decode(body)
        if (error := error_of(data)) is not None:
            raise told(error, where="answer")
        if not is_sound(data):
            raise UpstreamError("garbage")
        return Answer(body, data)

    async def _read(self, path: str, call: Call) -> bytes:
        """The whole body, in time: one clock around it all also ends a server that drips, and one that accepts the
        connection and never reads the request."""
        async with self._exchange(path, call, call.body) as response:
            return await read_at_most(response, MAX_ANSWER_BYTES + 1)

    @asynccontextmanager
    async def _exchange(
        self, path: str, call: Call, body: Body, *, within_s: float | None = None
    ) -> AsyncIterator[ClientResponse]:
        """One successful response, whose head comes `within_s`; its connection is closed at once when reading it is
        given up."""
        sent = _encoded({**body, "model": call.model.upstream_name})
        with own_words("connection reset"):
            sending = self._send(path, call, sent)
            response = await (sending if within_s is None else patiently(sending, within_s))
        try:
            with own_words("broke off"):
                await _check_status(response)
                yield response
        except BaseException:
            response.close()
            raise
        response.release()

    async def _send(self, path: str, call: Call, body: bytes) -> ClientResponse:
        """A connection from the pool may have been closed by the server just now: then the request was not heard, and
        is sent once more on a fresh one."""
        REUSED.set(False)
        try:
            return await self._post(self._session.open(), path, call, body)
        except (ClientOSError, ServerDisconnectedError) as error:
            if not (REUSED.get() and closed_unheard(error)):
                raise
        return await self._post(self._session.fresh(), path, call, body)

    def _post(self, session: ClientSession, path: str, call: Call, body: bytes) -> Awaitable[ClientResponse]:
        return session.post(
            self._urls[path],
            # A large body in one piece would hold the event loop.
            data=BytesIO(body) if len(body) > LARGE_BODY_BYTES else body,
            headers={**_lowered(call.headers.items()), **self._headers},
            allow_redirects=False,
            timeout=ClientTimeout(total=None, sock_connect=call.timeouts.connect_s),
        )


# ------------------------------------------------------------------ what is sent


def _lowered(pairs: Pairs) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs}


def _encoded(body: Body) -> bytes:
    try:
        return encode(body)
    except RecursionError:
        raise UpstreamRejected("nested too deeply", status=400, body=TOO_DEEP) from None


def _asking_for_usage(body: Body) -> tuple[Body, bool]:
    """The body that asks for usage at the end of the stream, and whether the caller had not."""
    options = body.get("stream_options") or {}
    if not isinstance(options, dict) or options.get("include_usage") is True:
        return body, False
    return {**body, "stream_options": {**options, "include_usage": True}}, True


def _without_options(body: Body) -> Body:
    """A server that does not know `stream_options` refuses them, and so the whole request."""
    return {name: value for name, value in body.items() if name != "stream_options"}


# ------------------------------------------------------------------ what comes back


async def _check_status(response: ClientResponse) -> None:
    """Raises what an unsuccessful status means. A refusal's text is worth having, but its status stands without it."""
    if 200 <= response.status < 300:
        return
    body = b""
    with suppress(TimeoutError, *LOST):
        body = await read_at_most(response, MAX_REFUSAL_BYTES)
    raise refusal(response.status, body, response.headers)


async def _linger(response: ClientResponse) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            await read_at_most(response, MAX_REFUSAL_BYTES)
    except (TimeoutError, *LOST):
        response.close()


def _is_completion(data: Body) -> bool:
    choices = data.get("choices")
    return (
        isinstance(choices, list)
        and bool(choices)
        and all(isinstance(choice, dict) and isinstance(choice.get("message"), dict) for choice in choices)
    )


def _is_embedding(data: Body) -> bool:
    vectors = data.get("data")
    return (
        isinstance(vectors, list)
        and bool(vectors)
        and all(isinstance(vector, dict) and isinstance(vector.get("embedding"), list | str) for vector in vectors)
    )
