"""What is said of each request: to whoever listens, and in the one line of the log."""

from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.headers import USUAL
from conduit.api.middleware import RequestContext, route_of
from conduit.core.events import Arrived, Event, Served
from conduit.core.keys import Key
from conduit.core.request_state import SCOPE, state_of
from conduit.observability.current import CURRENT
from conduit.testing import CountingIds, StillClock

CHAT = "/v1/chat/completions"
Header = tuple[bytes, bytes]


class Bench:
    """One layer around `app`; a request takes a second and a quarter."""

    def __init__(self, app: ASGIApp | None = None) -> None:
        self.clock, self.told, self.seen = StillClock(50.0), list[Event](), list[Scope]()
        self._inner = app or fine
        self._layer = RequestContext(self._slow, clock=self.clock, ids=CountingIds(), listener=self.told.append)

    async def _slow(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope)
        self.clock.at_s += 1.25
        await self._inner(scope, receive, send)

    async def call(
        self, path: str = CHAT, *headers: Header, method: str = "POST", kind: str = "http", root_path: str = ""
    ) -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        scope = {"type": kind, "method": method, "path": path, "root_path": root_path, "headers": list(headers)}
        await self._layer(scope, receive, send)
        return sent

    @property
    def served(self) -> Served:
        (event,) = [event for event in self.told if isinstance(event, Served)]
        return event

    @property
    def arrived(self) -> Arrived:
        (event,) = [event for event in self.told if isinstance(event, Arrived)]
        return event


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"", "headers": "none of ours"})


def answering(status: int, code: str | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state_of(scope).code = code
        await send({"type": "http.response.start", "status": status, "headers": []})

    return app


async def test_one_line_and_two_events_say_what_became_of_it() -> None:
    bench = Bench()
    with structlog.testing.capture_logs() as logs:
        sent = await bench.call()
    assert logs == [
        {
            "event": "request",
            "log_level": "info",
            "request_id": "req_000000000001",
            "method": "POST",
            "path": CHAT,
            "status": 201,
            "duration_ms": 1250.0,
        }
    ]
    assert sent[0]["headers"] == [(b"a", b"b"), *USUAL, (b"x-request-id", b"req_000000000001")]
    assert sent[1] == {"type": "http.response.body", "body": b"", "headers": "none of ours"}
    assert bench.told == [
        Arrived("POST", CHAT, "req_000000000001", "", ""),
        Served("POST", CHAT, 201, None, 1.25, None, None),
    ]


async def test_what_is_inside_adds_to_the_line() -> None:
    """And its code, its key and the time that was not ours go to who listens."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = state_of(scope)
        assert CURRENT.get() is state
        state.key, state.away_s, state.rated = Key("key_7", "seven", frozenset({"read"})), 0.5, "dec_1"
        state.degrade("keys")
        state.degrade("spool", counted=True)
        state.degrade("spool")
        await answering(429, code="rate_limit_exceeded")(scope, receive, send)

    bench = Bench(app)
    with structlog.testing.capture_logs() as logs:
        sent = await bench.call()
    said = {"code": "rate_limit_exceeded", "key": "key_7", "decision": "dec_1", "degraded": ["keys", "spool"]}
    assert (said | {"status": 429}).items() <= logs[0].items()
    assert dict(sent[0]["headers"])[b"x-conduit-degraded"] == b"keys, spool"
    assert bench.served == Served("POST", CHAT, 429, "rate_limit_exceeded", 1.25, 0.5, "key_7", ("keys",))


@pytest.mark.parametrize(
    ("path", "status", "level"),
    [
        ("/health/live", 200, "debug"),
        ("/metrics", 200, "debug"),
        ("/health/ready", 399, "debug"),
        ("/health/ready", 400, "info"),
        ("/health/ready", 503, "info"),
        (CHAT, 200, "info"),
    ],
)
async def test_machines_that_ask_every_second_are_in_the_log_when_they_are_refused(
    path: str, status: int, level: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        await Bench(answering(status)).call(path)
    assert [line["log_level"] for line in logs] == [level]


@pytest.mark.parametrize(
    ("path", "root_path", "route"),
    [
        (CHAT, "", CHAT),
        ("/gate/v1/models", "/gate", "/v1/models"),
        ("/v1/decisions/dec_1", "", "other"),
        ("/v1/made-up", "", "other"),
    ],
)
async def test_what_was_never_routed_goes_by_its_path_if_that_is_one_of_ours(
    path: str, root_path: str, route: str
) -> None:
    bench = Bench()
    await bench.call(path, root_path=root_path)
    assert bench.served.route == route
    assert bench.arrived.path == path


def test_what_was_routed_goes_by_its_declaration() -> None:
    route = type("Route", (), {"path": "/v1/decisions/{id}"})
    assert route_of({"path": "/v1/decisions/dec_1", "route": route}) == "/v1/decisions/{id}"
    unknown = type("Route", (), {"path": "/not/ours"})
    assert route_of({"path": CHAT, "route": unknown}) == "/not/ours"


async def test_a_path_is_logged_up_to_its_two_hundredth_character() -> None:
    with structlog.testing.capture_logs() as logs:
        await Bench().call("/" + "x" * 300)
    assert logs[0]["path"] == "/" + "x" * 199


async def test_a_caller_who_left_is_499_in_the_log_and_nobody_gets_it() -> None:
    async def left(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    bench = Bench(left)
    with structlog.testing.capture_logs() as logs:
        assert await bench.call() == []
    assert (logs[0]["status"], bench.served.status) == (499, 499)


async def test_an_error_that_nobody_answered_is_told_and_raised() -> None:
    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("mine")

    bench = Bench(raises)
    with structlog.testing.capture_logs() as logs, pytest.raises(ValueError, match="mine"):
        await bench.call()
    assert (logs[0]["status"], bench.served.status) == (0, 0)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_request_is_not_told_of(kind: str) -> None:
    bench = Bench()
    with structlog.testing.capture_logs() as logs:
        await bench.call(kind=kind)
    assert (logs, bench.told) == ([], [])
    assert SCOPE not in bench.seen[0]


def _traced(*headers: Header) -> Sequence[Header]:
    return [(b"accept", b"*/*"), *headers, (b"user-agent", b"x")]


async def test_the_callers_names_for_it_are_handed_on() -> None:
    """Of several ids the last; of the trace whatever was said, for whoever can read it."""
    bench = Bench()
    await bench.call(
        CHAT,
        *_traced(
            (b"x-request-id", b"not sane"),
            (b"x-request-id", b"mine-1"),
            (b"traceparent", b"00-\xe9"),
            (b"tracestate", b"a=\xe9"),
        ),
    )
    assert bench.arrived == Arrived("POST", CHAT, "mine-1", "00-é", "a=é")
    assert state_of(bench.seen[0]).id == "mine-1"


async def test_nobody_need_listen() -> None:
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    layer = RequestContext(fine, clock=StillClock(), ids=CountingIds())
    await layer({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    assert len(sent) == 2
