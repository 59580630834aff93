"""The limit of each caller, around a tiny application, with the limiter and the window that serve."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.envelope import LimitReached, Problem
from conduit.api.headers import complete
from conduit.api.peer import TrustedProxies
from conduit.api.ratelimit import RateLimit, set_aside
from conduit.core.admission import Admission
from conduit.core.errors import WindowUnavailable
from conduit.core.events import Event
from conduit.core.keys import Key, Limits
from conduit.core.request_state import SCOPE, RequestState, TokenUsage
from conduit.gateway.access.limiter import Limiter
from conduit.gateway.request.exchange import Ask
from conduit.routing.query import Query
from conduit.stores.memory.window import MemoryWindow
from conduit.testing import CountingIds, StillClock

UNIX_S = 1_795_694_400.0
CHAT = "/v1/chat/completions"
TEN = Ask(Query("", input_tokens=1, max_output_tokens=9), {})
UNSAID = Ask(Query("", input_tokens=1), {})


class Gone:
    """A shared window that does not answer any more."""

    def __init__(self, clock: StillClock) -> None:
        self._inner = MemoryWindow(clock)
        self.answers, self.holds = True, 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def enter(self, caller: str, visit: str, limits: Limits, tokens: int = 0) -> Admission:
        self._look()
        return await self._inner.enter(caller, visit, limits, tokens)

    async def hold(self, caller: str, visit: str, tokens: int, limit: int) -> Admission:
        self.holds += 1
        self._look()
        return await self._inner.hold(caller, visit, tokens, limit)

    async def lower(self, caller: str, visit: str, tokens: int) -> None:
        self._look()
        await self._inner.lower(caller, visit, tokens)

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        self._look()
        await self._inner.leave(caller, visit, tokens)

    def _look(self) -> None:
        if not self.answers:
            raise WindowUnavailable("TimeoutError")


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    state: RequestState

    def __getitem__(self, name: str) -> bytes:
        (value,) = [value for key, value in self.headers if key == name.encode()]
        return value

    @property
    def error(self) -> dict[str, Any]:
        body: dict[str, Any] = orjson.loads(self.body)
        return body


class Bench:
    """`app` is inside; `runs` counts how often it was asked."""

    def __init__(
        self, limits: Limits, *, app: ASGIApp | None = None, shared: bool = False, fails_closed: bool = False
    ) -> None:
        self.clock, self.events, self.runs = StillClock(UNIX_S), list[Event](), 0
        self.gone = Gone(self.clock)
        self.limiter = Limiter(
            shared=self.gone if shared else None,
            local=MemoryWindow(self.clock),
            clock=self.clock,
            listener=self.events.append,
            fails_closed=fails_closed,
        )
        self._inner = app or fine
        limit = RateLimit(self._count, usual=limits, ids=CountingIds(), unsaid_tokens=50)
        self._layer = TrustedProxies(limit, [ip_network("10.0.0.0/8")])

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1
        await self._inner(scope, receive, send)

    async def call(
        self,
        path: str = CHAT,
        *,
        key: Key | None = None,
        client: str = "192.0.2.1",
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] = (),
        kind: str = "http",
    ) -> Answer:
        sent, state = list[Message](), RequestState("req_1", dict(headers), key)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                complete(message["headers"], [], state)
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("the layer reads no body")

        app = type("App", (), {"state": type("State", (), {"conduit": self})})
        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "headers": list(headers),
            "client": (client, 1),
            SCOPE: state,
            "app": app,
        }
        await self._layer(scope, receive, send)
        start, *rest = sent
        body = b"".join(message["body"] for message in rest)
        told = [header for header in start["headers"] if header[0] != b"x-request-id"]  # of every answer
        return Answer(start["status"], told, body, state)


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


def key(name: str = "a", limits: Limits | None = None) -> Key:
    return Key(f"key_{name}", name, frozenset({"complete"}), None, limits or Limits())


def asking(ask: Ask, *, took: tuple[int, int] = (0, 0)) -> ASGIApp:
    """An application that sets aside what `ask` may take, and then took something."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await set_aside(scope, ask)
        except LimitReached as error:
            await send({"type": "http.response.start", "status": error.problem.status, "headers": []})
            await send({"type": "http.response.body", "body": error.problem.message.encode()})
            return
        scope[SCOPE].usage = TokenUsage(*took)
        await fine(scope, receive, send)

    return app


def looking(ask: Ask) -> ASGIApp:
    """An application that sets aside what `ask` may take, and answers with what is set aside then."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await set_aside(scope, ask)
        windows = scope["app"].state.conduit.limiter
        used = [next(iter(window._callers.values())).used for window in (windows._local, windows._shared._inner)]
        assert used[0] == used[1]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % used[0]})

    return app


# ------------------------------------------------------------------ requests


async def test_what_is_left_is_told_and_then_when_there_is_more() -> None:
    bench = Bench(Limits(requests_per_minute=2))
    first = await bench.call()
    assert (first.status, first.body) == (200, b"fine")
    told = [first["x-ratelimit-limit"], first["x-ratelimit-remaining"], first["x-ratelimit-reset"]]
    assert told == [b"2", b"1", b"%d" % (UNIX_S + 60)]
    bench.clock.at_s += 10.5
    assert (await bench.call())["x-ratelimit-reset"] == b"%d" % (UNIX_S + 60)
    refused = await bench.call()
    assert (refused.status, bench.runs) == (429, 2)
    assert refused["x-ratelimit-remaining"] == b"0"
    assert refused["x-ratelimit-limit"] == b"2"
    assert refused["retry-after"] == b"50"  # of 49.5
    assert refused.error["error"]["code"] == refused.state.code == "rate_limit_exceeded"
    assert refused.error["error"]["message"] == (
        "2 requests within a minute, 2 are allowed (API_RATE_LIMIT, or the key's own limit)"
    )
    assert (refused.error["retry_after"], refused.error["limit"], refused.error["current"]) == (50, 2, 2)
    bench.clock.at_s += 49.4
    assert (await bench.call())["retry-after"] == b"1"
    bench.clock.at_s += 0.2
    assert (await bench.call()).status == 200


async def test_without_limits_nobody_is_counted() -> None:
    bench = Bench(Limits())
    answers = [await bench.call(key=caller) for caller in (None, key()) for _ in range(3)]
    assert {(a.status, len(a.headers)) for a in answers} == {(200, 0)}
    assert bench.limiter._local._callers == {}  # type: ignore[attr-defined]


async def test_a_key_is_its_own_caller_from_wherever_and_its_limits_go_first() -> None:
    bench = Bench(Limits(requests_per_minute=1))
    for caller in (key("a"), key("b")):
        assert (await bench.call(key=caller)).status == 200
        assert (await bench.call(key=caller, client="192.0.2.9")).status == 429
    more = key("c", Limits(requests_per_minute=3))
    assert [(await bench.call(key=more)).status for _ in range(4)] == [200, 200, 200, 429]
    assert (await bench.call()).status == 200


async def test_who_has_no_key_is_who_is_at_the_other_end() -> None:
    """As far as that can be believed."""
    bench = Bench(Limits(requests_per_minute=1))
    assert (await bench.call()).status == 200
    assert (await bench.call(headers=[(b"x-forwarded-for", b"203.0.113.9")])).status == 429
    assert (await bench.call(client="192.0.2.2")).status == 200
    for client in (b"203.0.113.9", b"203.0.113.10"):
        trusted = {"client": "10.0.0.1", "headers": [(b"x-forwarded-for", client)]}
        assert [(await bench.call(**trusted)).status for _ in range(2)] == [200, 429]  # type: ignore[arg-type]


async def test_probes_and_preflights_are_not_counted() -> None:
    bench = Bench(Limits(requests_per_minute=1))
    preflight = [(b"access-control-request-method", b"POST")]
    for _ in range(3):
        for path in ("/health/live", "/health/ready", "/health/startup", "/metrics"):
            assert (await bench.call(path, method="GET")).headers == []
        assert (await bench.call(method="OPTIONS", headers=preflight)).headers == []
    assert (await bench.call(method="OPTIONS")).status == 200
    assert (await bench.call()).status == 429


async def test_what_is_no_request_is_not_counted() -> None:
    bench = Bench(Limits(requests_per_minute=1))
    for _ in range(2):
        await bench.call(kind="websocket")
    assert bench.runs == 2
    assert (await bench.call()).status == 200


# ------------------------------------------------------------------ at once


async def test_as_many_run_at_once_as_may_and_one_that_raises_runs_once_and_makes_room() -> None:
    hold, inside = asyncio.Event(), asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await hold.wait()
        raise ValueError("once")

    bench = Bench(Limits(concurrent=1), app=waits)
    running = asyncio.create_task(bench.call())
    await inside.wait()
    refused = await bench.call()
    assert refused.error["error"]["message"] == (
        "1 requests are running, 1 may at once (API_CONCURRENT_LIMIT, or the key's own limit)"
    )
    assert (refused.status, refused["retry-after"], refused["x-ratelimit-limit"]) == (429, b"1", b"1")
    assert bench.runs == 1
    hold.set()
    with pytest.raises(ValueError, match="once"):
        await running
    with pytest.raises(ValueError, match="once"):
        await bench.call()
    assert bench.runs == 2


async def test_an_answer_says_nothing_of_requests_where_they_have_no_limit() -> None:
    assert (await Bench(Limits(concurrent=1)).call()).headers == []


# ------------------------------------------------------------------ tokens


async def test_of_a_burst_no_more_run_than_fit_and_what_was_not_taken_is_free() -> None:
    hold, ready, problems = asyncio.Event(), asyncio.Event(), list[Problem]()
    inside = 0

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal inside
        try:
            await set_aside(scope, TEN)
        except LimitReached as error:
            problems.append(error.problem)
            await send({"type": "http.response.start", "status": 429, "headers": []})
            return
        inside += 1
        ready.set()
        await hold.wait()
        scope[SCOPE].usage = TokenUsage(1, 2)
        await fine(scope, receive, send)

    bench = Bench(Limits(tokens_per_minute=25), app=waits)
    running = [asyncio.create_task(bench.call()) for _ in range(20)]
    await ready.wait()
    hold.set()
    statuses = [(await task).status for task in running]
    assert (statuses.count(200), statuses.count(429), inside) == (2, 18, 2)
    assert {p.status for p in problems} == {429}
    assert problems[-1].more == {"retry_after": 60, "limit": 25, "current": 20}
    assert [(await bench.call()).status for _ in range(5)] == [200] * 4 + [429]  # 6, 9, 12, 15 and then 18 of 25


async def test_when_nothing_is_left_the_body_is_not_even_read() -> None:
    bench = Bench(Limits(tokens_per_minute=10), app=asking(TEN, took=(4, 6)))
    assert (await bench.call()).status == 200
    refused = await bench.call()
    assert (refused.status, bench.runs, refused["x-ratelimit-limit"]) == (429, 1, b"10")
    told = "10 tokens within a minute are taken or set aside, 10 are allowed (API_TOKEN_LIMIT, or the key's own limit)"
    assert refused.error["error"]["message"] == told


async def test_one_that_may_take_more_than_all_runs_alone() -> None:
    """And one whose limit nobody said may take as much as is set."""
    bench = Bench(Limits(tokens_per_minute=30), app=asking(UNSAID, took=(1, 1)))
    assert [(await bench.call()).status for _ in range(2)] == [200, 429]
    bench = Bench(Limits(tokens_per_minute=110), app=asking(UNSAID, took=(0, 59)))
    assert [(await bench.call()).status for _ in range(2)] == [200, 200]
    bench = Bench(Limits(tokens_per_minute=110), app=asking(UNSAID, took=(0, 60)))
    assert [(await bench.call()).status for _ in range(2)] == [200, 429]


async def test_without_a_limit_of_tokens_nothing_is_set_aside_or_counted() -> None:
    bench = Bench(Limits(requests_per_minute=9), app=asking(TEN, took=(4, 6)))
    assert [(await bench.call()).status for _ in range(3)] == [200] * 3
    (visits,) = bench.limiter._local._callers.values()  # type: ignore[attr-defined]
    assert (visits.used, len(visits.requests)) == (0, 3)


async def test_what_the_size_tells_is_set_aside_at_the_door_and_asked_for_once() -> None:
    """A quarter of the body and the usual answer; a longer answer has to be asked for, a shorter one is told."""
    usual, short, long = (Ask(Query("", max_output_tokens=most), {}, size=160) for most in (None, 7, 60))
    for ask, holds, then in ((usual, 0, 91), (short, 0, 48), (long, 1, 101)):
        bench = Bench(Limits(tokens_per_minute=200), app=looking(ask), shared=True)
        size = [(b"content-length", b"160")]
        assert (await bench.call(headers=size)).body == b"%d" % then
        assert bench.gone.holds == holds
        assert (await bench.call("/v1/feedback", headers=size)).body == b"%d" % then


async def test_where_half_of_the_tokens_are_taken_it_is_asked_for_as_before() -> None:
    bench = Bench(Limits(tokens_per_minute=100), app=asking(Ask(Query(""), {}, size=8), took=(1, 1)), shared=True)
    assert [(await bench.call(headers=[(b"content-length", b"8")])).status for _ in range(2)] == [200, 200]
    assert bench.gone.holds == 2


# ------------------------------------------------------------------ without Redis


async def test_who_is_counted_alone_is_told() -> None:
    bench = Bench(Limits(requests_per_minute=2), shared=True)
    assert "x-conduit-degraded" not in str((await bench.call()).headers)
    bench.gone.answers = False
    answer = await bench.call()
    assert (answer.status, answer["x-conduit-degraded"]) == (200, b"ratelimit")
    refused = await bench.call()
    assert (refused.status, refused["x-conduit-degraded"]) == (429, b"ratelimit")


async def test_who_sets_tokens_aside_alone_is_told_once() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        bench.gone.answers = False
        await asking(TEN)(scope, receive, send)

    bench = Bench(Limits(tokens_per_minute=99), app=breaks, shared=True)
    assert [(await bench.call())["x-conduit-degraded"] for _ in range(2)] == [b"ratelimit"] * 2


async def test_where_limits_fail_closed_nobody_is_let_in_uncounted() -> None:
    bench = Bench(Limits(requests_per_minute=2), shared=True, fails_closed=True)
    bench.gone.answers = False
    refused = await bench.call()
    assert (refused.status, refused["retry-after"], bench.runs) == (503, b"1", 0)
    assert refused.error["error"]["code"] == refused.state.code == "limits_unavailable"
