"""What the edge costs, and whether it holds: limits, their loss of Redis, and a body without an end.

    python -m benchmarks.edge cost [--requests 4000]
    python -m benchmarks.edge exact [--runs 20]
    python -m benchmarks.edge outage
    python -m benchmarks.edge body
    python -m benchmarks.edge unread

`cost`: CPU of this process for a request through the whole stack, less that of the same route without it; both
alternate in one run, so that their ratio says more than the microseconds of a machine in its mood. With a limit of
requests at once Valkey is also told of each end, together with the next question when there is one by then: `at once`
has one, `apart` (a millisecond between requests) has none. `tokens`: and a limit of tokens, which are set aside with
the first question; `busy`: the same from eight callers at a time, whose questions go out together; `long`: of an answer
so long that the route has to ask again.
`all three`: those limits in process. `exact`: 200 requests at once over three workers at limit 40. `outage`: Valkey is
killed and started again under load. `body`: a gigabyte in chunks. `unread`: a caller who may have one request at once
asks for a stream of 80 MB and reads none of it; how long until the next is let in. Valkey is the one of the tests; logs
go to standard error.
"""

import argparse
import asyncio
import http.client
import os
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Scope

from conduit.api.app import create_app
from conduit.api.ratelimit import set_aside
from conduit.core.config import make_settings
from conduit.gateway.request.exchange import Ask
from conduit.routing.query import Query
from tests.support.gateway import GatewayProcess, declared
from tests.support.scripts import chunk, streams
from tests.support.upstream import FakeUpstream
from tests.support.valkey import ValkeyServer

OWN = "operators-own-key"
DEGRADED = (b"x-conduit-degraded", b"ratelimit")
PATH = "/v1/chat/completions"
BODY = b'{"prompt": "What is 2 + 2?"}' + b" " * 1000
USUAL, LONG = (Ask(Query("What is 2 + 2?", max_output_tokens=most), {}, size=len(BODY)) for most in (None, 9000))
BATCH = 100
LIMIT, AT_ONCE, BUSY = 40, 200, 8
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

# ------------------------------------------------------------------ cost


def answering(ask: Ask) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        await request.body()
        await set_aside(request.scope, ask)
        return Response(b"{}", media_type="application/json")

    return answer


def scope_of(app: Starlette) -> Scope:
    names = {"host": "localhost", "authorization": f"Bearer {OWN}", "content-type": "application/json"}
    names |= {"content-length": str(len(BODY)), "user-agent": "OpenAI/Python 3.0", "accept": "application/json"}
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in names.items()],
        "client": ("192.0.2.1", 40000),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "app": app,
    }


async def batch(called: ASGIApp, app: Starlette, apart_s: float = 0.0) -> tuple[float, list[float]]:
    """CPU seconds of all, and elapsed seconds of each; between two of them `apart_s`."""

    async def receive() -> Message:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Message) -> None:
        begins = message["type"] == "http.response.start"
        if begins and (message["status"] != 200 or DEGRADED in message["headers"]):
            raise SystemExit(f"status {message['status']}, {message['headers']}")

    times, before = [], time.process_time()
    for _ in range(BATCH):
        began = time.perf_counter()
        await called(scope_of(app), receive, send)
        times.append(time.perf_counter() - began)
        if apart_s:
            await asyncio.sleep(apart_s)
    return time.process_time() - before, times


async def side_by_side(called: ASGIApp, app: Starlette, apart_s: float, callers: int) -> tuple[float, list[float]]:
    """CPU seconds of a BATCH by as many callers at a time, and elapsed seconds of each request."""
    if callers == 1:
        return await batch(called, app, apart_s)
    before = time.process_time()
    batches = await asyncio.gather(*(batch(called, app, apart_s) for _ in range(callers)))
    return (time.process_time() - before) / callers, [each for _, times in batches for each in times]


async def measure(
    name: str, requests: int, apart_s: float = 0.0, ask: Ask = USUAL, callers: int = 1, /, **settings: object
) -> None:
    given = {"api_key": OWN, "api_rate_limit": 1_000_000, "sandbox": "on", **settings}
    app = create_app(make_settings(file=given, environ={}), {})
    app.router.routes.insert(0, Route(PATH, answering(ask), methods=["POST"]))
    async with app.router.lifespan_context(app):
        await batch(app, app), await batch(app.router, app)
        sides = (app.router, app)
        turns = range(requests // BATCH)
        rounds = [[await side_by_side(side, app, apart_s, callers) for side in sides] for _ in turns]
    bare, whole = ([one[side][0] / BATCH * 1e6 for one in rounds] for side in (0, 1))
    waits = [statistics.median(t for one in rounds for t in one[side][1]) * 1e6 for side in (0, 1)]
    added = statistics.median(w - b for b, w in zip(bare, whole, strict=True))
    routes = added / statistics.median(bare)
    print(
        f"{name:<10} CPU a request: route {statistics.median(bare):6.1f} us, whole {statistics.median(whole):6.1f} us, "
        f"added {added:6.1f} us = {routes:4.1f} routes; p50 added {waits[1] - waits[0]:6.1f} us"
    )


def cost(requests: int) -> None:
    with tempfile.TemporaryDirectory() as folder, ValkeyServer() as valkey:
        url = f"sqlite:///{folder}/conduit.db"
        shared = {"redis_url": valkey.url, "redis_patience_s": 1.0}
        uvloop.run(measure("unlimited", requests, database_url=url, api_rate_limit=0))
        uvloop.run(measure("no log", requests, database_url=url, log_level="error"))
        uvloop.run(measure("in process", requests, database_url=url))
        every = {"api_concurrent_limit": 1000, "api_token_limit": 1_000_000_000}
        uvloop.run(measure("all three", requests, database_url=url, **every))
        uvloop.run(measure("Valkey", requests, database_url=url, **shared))
        shared["api_concurrent_limit"] = 1000
        uvloop.run(measure("at once", requests, database_url=url, **shared))
        uvloop.run(measure("tokens", requests, database_url=url, **shared | every))
        uvloop.run(measure("busy", requests, 0.0, USUAL, BUSY, database_url=url, **shared | every))
        uvloop.run(measure("long", requests, 0.0, LONG, database_url=url, **shared | every))
        uvloop.run(measure("apart", requests, 0.001, database_url=url, **shared))


# ------------------------------------------------------------------ exact


def exact(runs: int, patience_s: float) -> None:
    with tempfile.TemporaryDirectory() as folder, ValkeyServer() as valkey, ThreadPoolExecutor(AT_ONCE) as pool:
        env = {"API_RATE_LIMIT": str(LIMIT), "REDIS_URL": valkey.url, "TRUSTED_PROXIES": "127.0.0.1"}
        with GatewayProcess(Path(folder), workers=3, env=env | {"REDIS_PATIENCE_S": str(patience_s)}) as gateway:
            came, alone = Counter[int](), 0
            for run in range(runs):
                caller = {"x-forwarded-for": f"203.0.113.{run}"}
                replies = list(pool.map(lambda _, c=caller: gateway.get("/v1/models", c), range(AT_ONCE)))
                came[sum(reply.status == 200 for reply in replies)] += 1
                alone += sum("x-conduit-degraded" in reply.headers for reply in replies)
    print(f"limit {LIMIT}, {AT_ONCE} at once, 3 workers, {runs} runs, patience {patience_s} s")
    print(f"let in: {dict(came)} (number: runs); answers counted alone: {alone}")


# ------------------------------------------------------------------ outage


def outage() -> None:
    with tempfile.TemporaryDirectory() as folder, ValkeyServer() as valkey:
        env = {"API_RATE_LIMIT": "1000000", "REDIS_URL": valkey.url}
        with GatewayProcess(Path(folder), workers=2, env=env) as gateway:
            seen: list[tuple[float, float, int, bool]] = []
            over = threading.Event()
            threads = [threading.Thread(target=_load, args=(gateway.port, over, seen)) for _ in range(4)]
            for thread in threads:
                thread.start()
            marks = [_after(2.0, lambda: None), _after(3.0, valkey.kill), _after(3.0, valkey.start)]
            _after(3.0, over.set)
            for thread in threads:
                thread.join()
    told = zip(("shared", "killed", "back"), marks, [*marks[1:], float("inf")], strict=True)
    for name, begin, end in told:
        _tell(name, [one for one in seen if begin <= one[0] < end])


def _after(wait_s: float, act: Callable[[], object]) -> float:
    time.sleep(wait_s)
    began = time.perf_counter()
    act()
    return began


def _load(port: int, over: threading.Event, seen: list[tuple[float, float, int, bool]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while not over.is_set():
        began = time.perf_counter()
        connection.request("GET", "/v1/models")
        response = connection.getresponse()
        response.read()
        alone = response.getheader("x-conduit-degraded") is not None
        seen.append((began, time.perf_counter() - began, response.status, alone))


def _tell(name: str, seen: Sequence[tuple[float, float, int, bool]]) -> None:
    times = sorted(one[1] * 1e3 for one in seen)
    statuses = dict(Counter(one[2] for one in seen))
    alone, count = sum(one[3] for one in seen), len(seen)
    print(f"{name:<8} {statuses} alone {alone}/{count}; p50 {times[count // 2]:.2f} ms, slowest {times[-1]:.1f} ms")


# ------------------------------------------------------------------ body


def body() -> None:
    with tempfile.TemporaryDirectory() as folder, GatewayProcess(Path(folder)) as gateway:
        for path in ("/v1/complete", "/v1/chat/completions"):
            before, sent, reply = _resident(gateway.pid), 0, b""
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as wire:
                wire.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
                with suppress(OSError):
                    for _ in range(2**30 // len(CHUNK)):
                        wire.sendall(CHUNK)
                        sent += len(CHUNK)
                with suppress(OSError):
                    reply = wire.recv(200)
            grown = _resident(gateway.pid) - before
            status = reply[9:12].decode() or "closed before its answer was read"
            print(f"{path:<22} {status}; {sent / 1e6:.1f} MB of 1074 went out; memory grew by {grown / 1e6:.1f} MB")


# ------------------------------------------------------------------ unread


def unread() -> None:
    frame = chunk({"content": "x" * 8000})
    with FakeUpstream(models=["endless"]) as upstream, tempfile.TemporaryDirectory() as folder:
        upstream.plan("endless", streams(*[frame] * 10_000))
        config = declared(upstream.base_url, {"endless": 1.0})
        env = {"API_CONCURRENT_LIMIT": "1"}
        serves = GatewayProcess(Path(folder), command="conduit serve", config=config, env=env)
        with serves as gateway, socket.socket() as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.connect(("127.0.0.1", gateway.port))
            asked = b'{"model": "endless", "stream": true, "messages": [{"role": "user", "content": "go on"}]}'
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            wire.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(asked) + asked)
            wire.recv(100)
            began, before = time.perf_counter(), _resident(gateway.pid)
            grown, statuses = 0, Counter[int]()
            while (status := gateway.get("/v1/models").status) != 200:
                statuses[status] += 1
                grown = max(grown, _resident(gateway.pid) - before)
                time.sleep(0.5)
    print(f"free again after {time.perf_counter() - began:.1f} s; until then {dict(statuses)}", end="; ")
    print(f"memory grew by {grown / 1e6:.1f} MB at most")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "exact", "outage", "body", "unread"])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--patience", type=float, default=0.05)
    args = parser.parse_args()
    if args.what == "cost":
        cost(args.requests)
    elif args.what == "exact":
        exact(args.runs, args.patience)
    else:
        {"outage": outage, "body": body, "unread": unread}[args.what]()


if __name__ == "__main__":
    main()
