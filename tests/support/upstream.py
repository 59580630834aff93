"""A fake of an OpenAI-compatible server on a real socket, which answers, fails, stalls and lies as it is told.

As a process it replays a table of recorded outcomes:
``python -m tests.support.upstream --port 9000 --table table.jsonl.gz --price model-a=10 --price model-b=0.4``
"""

import argparse
import asyncio
import gzip
import socket
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.support.scripts import Received, Reply, Script, embeds, says

WAIT_S = 10.0
ANY_MODEL = "*"

# ------------------------------------------------------------------ the server


class FakeUpstream:
    """Use as a context manager. Every model says hello until `plan` tells it otherwise."""

    def __init__(self, *, port: int = 0, models: Sequence[str] = ("fake-model",), remembers: bool = True) -> None:
        self.requests: list[Received] = []
        self.remembers = remembers
        self.models = models
        self._plans: dict[str, deque[Script]] = defaultdict(deque)
        self._gone = 0
        self._changed = threading.Condition()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self.app(), log_config=None, log_level="critical", access_log=False, lifespan="off", ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def plan(self, model: str, *scripts: Script) -> None:
        """The next requests for `model` (ANY_MODEL: those without a plan), one script each; the last one stays."""
        self._plans[model] = deque(scripts)

    def forget(self) -> None:
        """As if nothing had been planned, and nothing had come."""
        self._plans.clear()
        self.requests.clear()
        self._gone = 0

    def wait_for_requests(self, count: int) -> None:
        self._wait(lambda: len(self.requests) >= count)

    def wait_until_gone(self, count: int = 1) -> None:
        """Until so many clients have closed the connection on which they were kept waiting."""
        self._wait(lambda: self._gone >= count)

    def app(self) -> Starlette:
        posts = [Route(f"/v1/{path}", self._post, methods=["POST"]) for path in ("chat/completions", "embeddings")]
        return Starlette(routes=[*posts, Route("/v1/models", self._list)])

    def serve(self) -> None:
        """In this thread, until interrupted. Connections are taken from the line that it prints on."""
        sys.stdout.write(f"{self.base_url}\n")
        sys.stdout.flush()
        self._server.run([self._socket])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_S)
        self._socket.close()

    async def _post(self, request: Request) -> Response:
        received = _received(request, await request.body())
        script = self._script(received)  # before anybody hears of the request, and plans for the next one
        self._note(received=received)
        return _Played(script(received), self._note)

    async def _list(self, request: Request) -> Response:
        self._note(received=_received(request, b""))
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    def _script(self, received: Received) -> Script:
        plan = self._plans.get(received.json.get("model", "")) or self._plans.get(ANY_MODEL)
        if not plan:
            return embeds() if received.path.endswith("embeddings") else says()
        return plan.popleft() if len(plan) > 1 else plan[0]

    def _note(self, *, received: Received | None = None) -> None:
        """A request that came, or else a client that left."""
        with self._changed:
            if received is None:
                self._gone += 1
            elif self.remembers:
                self.requests.append(received)
            self._changed.notify_all()

    def _wait(self, happened: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(happened, WAIT_S), "the fake upstream waited in vain"


def _received(request: Request, body: bytes) -> Received:
    return Received(request.url.path, request.url.query, dict(request.headers), body, request.client)


class _Played(Response):
    """A reply on its way out."""

    def __init__(self, reply: Reply, left: Callable[[], None]) -> None:
        super().__init__()
        self._reply = reply
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = self._reply
        if not reply.silent:
            headers = {"content-type": reply.content_type, **reply.headers}
            raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": reply.status, "headers": raw})
            for piece in reply.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(reply.interval_s)
        await self._end(receive, send)

    async def _end(self, receive: Receive, send: Send) -> None:
        match self._reply.ending:
            case "whole":
                await send({"type": "http.response.body", "body": b""})
            case "stall":
                while (await receive())["type"] != "http.disconnect":
                    pass
                self._left()
            case "cut":
                raise ConnectionAbortedError


# ------------------------------------------------------------------ recorded outcomes


def recorded(table: Path, prices: Mapping[str, float]) -> Script:
    """Answers as the table says each model did; tokens times `prices` (USD per million) are the recorded cost."""
    outcomes = {row["prompt"]: row["outcomes"] for row in _rows(table)}

    def play(received: Received) -> Reply:
        asked = received.json
        prompt = [_text(message["content"]) for message in asked["messages"] if message["role"] == "user"][-1]
        outcome = outcomes.get(prompt, {}).get(asked["model"])
        if outcome is None:
            return Reply([b'{"error":{"message":"not in the table"}}'], status=404)
        price = prices.get(asked["model"], 0.0)
        tokens = round(outcome["cost_usd"] / price * 1e6) if price else outcome.get("output_tokens", 1)
        extra = {"recorded": {"quality": outcome["quality"]}}
        return says("Recorded.", prompt_tokens=1, completion_tokens=max(1, tokens), extra=extra)(received)

    return play


def _rows(table: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(table, "rb") if table.suffix == ".gz" else table.open("rb") as lines:
        yield from (orjson.loads(line) for line in lines if line.strip())


def _text(content: str | list[dict[str, str]]) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake OpenAI server that replays a table of recorded outcomes.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--price", action="append", default=[], metavar="MODEL=USD", help="per million output tokens")
    options = parser.parse_args()
    prices = {model: float(usd) for model, _, usd in (price.rpartition("=") for price in options.price)}
    upstream = FakeUpstream(port=options.port, models=tuple(prices), remembers=False)
    upstream.plan(ANY_MODEL, recorded(options.table, prices))
    upstream.serve()


if __name__ == "__main__":
    main()
