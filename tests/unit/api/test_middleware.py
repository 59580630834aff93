"""The layers, each around a tiny application."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import structlog
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.boundary import ErrorBoundary
from conduit.api.envelope import RequestTooLarge
from conduit.api.middleware import RequestContext, setup_middleware
from conduit.api.sizelimit import SizeLimit
from conduit.routing.system import SystemClock
from conduit.testing import CountingIds, StillClock

CHAT = "/v1/chat/completions"
Headers = Sequence[tuple[bytes, bytes]]


@dataclass
class Sent:
    """What came back from an application."""

    messages: list[Message] = field(default_factory=list)

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def call(
    app: ASGIApp, *pieces: bytes, path: str = "/v1/complete", method: str = "POST", headers: Headers = ()
) -> Sent:
    """One request whose body comes in these pieces."""
    left = list(pieces) or [b""]
    sent = Sent()

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    await app({"type": "http", "method": method, "path": path, "headers": list(headers)}, receive, sent)
    return sent


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads everything and sends it back."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading."""
    await send({"type": "http.response.start", "status": 204, "headers": []})


# ------------------------------------------------------------------ size limit


def sized(app: ASGIApp, *, small: int = 10, large: int = 100, body_s: float = 60.0) -> SizeLimit:
    return SizeLimit(app, small=small, large=large, most=10**9, body_s=body_s, clock=SystemClock())


LIMITED = sized(echo)


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/complete", 10), ("/v1/nothing", 10), (CHAT, 100), ("/v1/embeddings", 100)]
)
async def test_a_body_is_taken_up_to_its_limit(path: str, limit: int) -> None:
    """To the byte, in one piece or in many."""
    assert (await call(LIMITED, b"x" * limit, path=path)).body == b"x" * limit
    assert (await call(LIMITED, *[b"x"] * limit, path=path)).body == b"x" * limit
    for pieces in ([b"x" * (limit + 1)], [b"x"] * (limit + 1)):
        with pytest.raises(RequestTooLarge) as raised:
            await call(LIMITED, *pieces, path=path)
        assert (raised.value.max_size, raised.value.actual_size) == (limit, limit + 1)


async def test_a_declared_size_is_refused_before_anything_is_read() -> None:
    """Even by an application that would not read it."""
    with pytest.raises(RequestTooLarge) as raised:
        await call(sized(deaf), headers=[(b"content-length", b"11")])
    assert raised.value.actual_size == 11
    assert (await call(sized(deaf), headers=[(b"content-length", b"10")])).status == 204
    with pytest.raises(RequestTooLarge) as raised:
        await call(sized(deaf), headers=[(b"content-length", b"9" * 30)])
    assert raised.value.actual_size == 10**18 - 1


async def test_without_a_declared_size_nothing_is_refused_for_it() -> None:
    for headers in ([], [(b"content-length", b"many")]):
        assert (await call(sized(echo, small=0), headers=headers)).status == 200


@pytest.mark.parametrize("declared", [b"1", b"-5", b"abc", b"", b"\xb2", b"1" * 5000])
async def test_a_declaration_is_not_believed_when_more_comes(declared: bytes) -> None:
    """A small, senseless or absurd number is no way around the count."""
    with pytest.raises(RequestTooLarge):
        await call(LIMITED, b"x" * 11, headers=[(b"content-length", declared)])


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"Identity, gzip", b"deflate"])
async def test_a_compressed_body_is_refused_unread(encoding: bytes) -> None:
    """A thousandth of a limit may hold more than the limit."""
    name = b"content-encoding"
    sent = await call(around(LIMITED), b"x", headers=[(name, encoding)])
    assert (sent.status, orjson.loads(sent.body)["error"]["code"]) == (415, "unsupported_encoding")
    assert sent.headers[b"connection"] == b"close"
    assert b'send the body as it is, without Content-Encoding"' in sent.body
    twice = await call(around(LIMITED), b"x", headers=[(name, said) for said in (encoding, b"identity")])
    assert twice.status == 415
    for plain in (b" Identity ", b""):
        assert (await call(LIMITED, b"x", headers=[(name, plain)])).body == b"x"


@pytest.mark.parametrize("headers", [[(b"a", b"")] * 101, [(b"a", b"x" * 32_768)]])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_headers_have_a_limit_too(headers: Headers, method: str) -> None:
    sent = await call(around(LIMITED), method=method, headers=headers)
    assert (sent.status, orjson.loads(sent.body)["error"]["code"]) == (431, "headers_too_large")
    assert (await call(around(LIMITED), method=method, headers=headers[:-1])).status == 200
    assert (await call(around(LIMITED), method=method, headers=[(b"a", b"x" * 32_767)])).status == 200


async def test_a_body_that_does_not_come_is_given_up() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    sent = Sent()
    scope = {"type": "http", "method": "POST", "path": "/v1/complete", "headers": []}
    await around(sized(echo, body_s=0.01))(scope, receive, sent)
    assert (sent.status, orjson.loads(sent.body)["error"]["code"]) == (408, "request_timeout")


@pytest.mark.parametrize("late_first", [False, True])
async def test_whoever_else_ends_a_request_is_not_taken_for_a_slow_body(late_first: bool) -> None:
    """A server that stops, say: also in the moment in which time is up."""
    waiting = asyncio.Event()

    async def receive() -> Message:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            if late_first:
                task.cancel()
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/v1/complete", "headers": []}
    layer = around(sized(echo, body_s=0.01 if late_first else 60.0))
    task = asyncio.ensure_future(layer(scope, receive, Sent()))
    await waiting.wait()
    if not late_first:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_body_that_is_slow_and_in_time_is_taken() -> None:
    """Piece by piece, each of which may come late; what counts is the end of all: one is refused that needs longer,
    however regularly its pieces come."""
    for takes_s, body_s, status in ((0.06, 60.0, 200), (60.0, 0.06, 408)):
        pieces = asyncio.Queue[Message]()
        loop = asyncio.get_running_loop()
        due = [
            loop.call_later(
                takes_s * n / 3, pieces.put_nowait, {"type": "http.request", "body": b"x", "more_body": n < 3}
            )
            for n in range(4)
        ]
        sent = Sent()
        scope = {"type": "http", "method": "POST", "path": "/v1/complete", "headers": []}
        await around(sized(echo, body_s=body_s))(scope, pieces.get, sent)
        assert sent.status == status
        assert status != 200 or sent.body == b"xxxx"
        for timer in due:
            timer.cancel()


async def test_who_waits_for_the_caller_to_leave_may_wait_longer_than_a_body() -> None:
    """As streams do."""
    told: list[str] = []
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.append((await receive())["type"])
        asyncio.get_running_loop().call_later(0.05, gone.set)
        told.append((await receive())["type"])

    bodies = iter([{"type": "http.request", "body": b"x", "more_body": False}])

    async def receive() -> Message:
        if (message := next(bodies, None)) is not None:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/v1/complete", "headers": []}
    await sized(app, body_s=0.01)(scope, receive, Sent())
    assert told == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_requests_without_a_body_are_not_limited(method: str) -> None:
    """As the contract says."""
    assert (await call(LIMITED, b"x" * 50, method=method)).status == 200


async def test_what_is_no_request_passes_through() -> None:
    """The server's own lifespan messages."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    for layer in (sized(app), around(app)):
        await layer({"type": "lifespan"}, receive, Sent())
    assert seen == ["lifespan"] * 2


# ------------------------------------------------------------------ request context


def around(app: ASGIApp) -> RequestContext:
    """With the boundary of errors, which is where they become answers."""
    return RequestContext(ErrorBoundary(app), clock=StillClock(), ids=CountingIds())


def raising(error: Exception, *, after_start: bool = False) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if after_start:
            await deaf(scope, receive, send)
        raise error

    return app


@pytest.mark.parametrize("given", [b"a", b"A-z_0.9", b"x" * 128])
async def test_a_sane_request_id_is_the_callers(given: bytes) -> None:
    """And is sent back."""
    sent = await call(around(echo), headers=[(b"x-request-id", given)])
    assert sent.headers[b"x-request-id"] == given


@pytest.mark.parametrize(
    "given", [None, b"", b"x" * 129, b"a b", b"a\n", b"a\r\nset-cookie: b", b"\xff", b"\xc3\xa9", b"{}"]
)
async def test_any_other_request_id_is_made(given: bytes | None) -> None:
    """By whoever makes ids here."""
    sent = await call(around(echo), headers=[] if given is None else [(b"x-request-id", given)])
    assert sent.headers[b"x-request-id"] == b"req_000000000001"


async def test_an_unexpected_error_is_500_without_its_text() -> None:
    """The log has the place, and not the text either: it may quote a prompt."""
    with structlog.testing.capture_logs() as logs:
        sent = await call(around(raising(ValueError("my secret prompt"))))
    assert sent.status == 500
    assert orjson.loads(sent.body)["error"]["code"] == "internal_error"
    assert orjson.loads(sent.body)["request_id"] == "req_000000000001"
    assert [line["event"] for line in logs] == ["internal error", "request"]
    assert "ValueError at " in logs[0]["where"]
    assert "secret" not in str(logs) + str(sent.body)


async def test_too_large_a_body_is_413_in_the_envelope() -> None:
    """Whoever noticed it."""
    sent = await call(around(LIMITED), b"x" * 11)
    body: dict[str, Any] = orjson.loads(sent.body)
    assert (sent.status, body["error"]["code"]) == (413, "request_too_large")
    assert (body["max_size"], body["actual_size"]) == (10, 11)


async def test_an_error_after_the_answer_began_is_logged_and_raised() -> None:
    """The server must cut the connection: a second answer would stand in the middle of the first."""
    with structlog.testing.capture_logs() as logs, pytest.raises(ValueError, match="secret"):
        await call(around(raising(ValueError("secret"), after_start=True)))
    assert [line["event"] for line in logs] == ["broke off", "request"]
    assert "secret" not in str(logs)


async def test_an_application_alone_gets_the_stack_as_it_is_by_default() -> None:
    """Where nobody says by which settings, clock and names. What limits and keys are is for the assembly to say."""
    app = Starlette()
    setup_middleware(app)
    names = [layer.cls.__name__ for layer in app.user_middleware]  # type: ignore[attr-defined]
    assert (names[0], names[-1]) == ("RequestContext", "RateLimit")
    sent = await call(app, path="/health/nothing", method="GET")
    assert sent.status == 404
    assert sent.headers[b"x-request-id"].startswith(b"req_")
    assert sent.headers[b"x-content-type-options"] == b"nosniff"


# ------------------------------------------------------------------ security headers


async def test_an_answer_says_no_security_header_twice() -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        own = [(b"content-security-policy", b"default-src 'self'")]
        await send({"type": "http.response.start", "status": 200, "headers": own})

    sent = await call(around(page))
    names = [name for name, _ in sent.messages[0]["headers"]]
    assert len(names) == len(set(names))
    assert sent.headers[b"content-security-policy"] == b"default-src 'self'"
    assert sent.headers[b"x-content-type-options"] == b"nosniff"
    assert b"strict-transport-security" not in sent.headers
