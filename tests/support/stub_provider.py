"""A fake provider that breaks the rules: what it does is up to the name of the model that it is asked for.

It writes its own bytes on its own sockets, so that it can do what no HTTP server's library lets one do: close a
connection that is idle, lie about lengths, drip, flood, or say nothing at all.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

WAIT_S = 20.0
MODELS = "GET /v1/models"
"""The name under which a behaviour answers the list of models."""


@dataclass
class Asked:
    """One request that came, and the socket on which it is answered."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)
    connection: int = 0
    """The same for requests on one connection."""
    nth: int = 1
    """How often this model was asked, this time included."""
    left: bool = False
    """Whether the gateway closed the connection while this was being answered."""
    written: int = 0
    """Bytes that were handed to the socket."""

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def streams(self) -> bool:
        return bool(self.json.get("stream"))

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        self.written += len(data)
        await self.writer.drain()

    async def answer(
        self,
        body: bytes,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> None:
        """Whole, with its length; the connection stays open."""
        named = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
        await self.write(head(status, named) + body)

    async def begin_stream(self) -> None:
        """Of server-sent events, which the end of the connection ends, or `end_stream`."""
        await self.write(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))

    async def piece(self, data: bytes) -> None:
        """Of a stream that was begun."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self) -> None:
        await self.write(b"0\r\n\r\n")

    async def until_left(self) -> None:
        """Until the gateway closes the connection."""
        while await self.reader.read(65536):
            pass
        self.left = True


Behaviour = Callable[[Asked], Awaitable[None]]
"""Raising ConnectionAbortedError resets the connection, returning keeps it for the next request."""


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1")


def event(data: Mapping[str, object]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def delta(finish_reason: str | None = None, **fields: object) -> bytes:
    """An event of a chat stream whose only choice has these fields in its delta."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return event({"id": "chatcmpl-stub", "object": "chat.completion.chunk", "choices": [choice]})


def completion(content: str = "Hello.", *, usage: Mapping[str, object] | None = None, **more: object) -> bytes:
    """A whole answer of chat; `more` stands in its only choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}
    counted = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10} if usage is None else usage
    body = {"id": "chatcmpl-stub", "object": "chat.completion", "choices": [choice], "usage": counted}
    return json.dumps(body).encode()


DONE = b"data: [DONE]\n\n"


async def hello(asked: Asked) -> None:
    """What a model says that has no behaviour of its own."""
    if not asked.streams:
        await asked.answer(completion())
        return
    await asked.begin_stream()
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    for piece in (delta(role="assistant", content=""), delta(content="Hello."), delta("stop")):
        await asked.piece(piece)
    await asked.piece(event({"id": "chatcmpl-stub", "choices": [], "usage": usage}))
    await asked.piece(DONE)
    await asked.end_stream()


class StubProvider:
    """Use as a context manager. `behaviours` by model name; MODELS is the list of models; who has none says hello."""

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None, *, idle_s: float | None = None) -> None:
        """`idle_s`: after so long without a request it closes a connection, as uvicorn does after 5 s."""
        self.behaviours = dict(behaviours or {})
        self.asked: list[Asked] = []
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._connections = self._closed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def of(self, model: str) -> list[Asked]:
        """Requests for this model, in their order."""
        with self._changed:
            return [each for each in self.asked if each.body and each.json.get("model") == model]

    def forget(self) -> None:
        with self._changed:
            self.asked.clear()

    def wait_until(self, happened: Callable[[], bool], within_s: float = WAIT_S) -> None:
        with self._changed:
            assert self._changed.wait_for(happened, within_s), f"the stub provider waited in vain; {self.asked}"

    def wait_until_closed(self, count: int, within_s: float = WAIT_S) -> None:
        """Until so many connections are closed, by whichever side."""
        self.wait_until(lambda: self._closed >= count, within_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)

    # -------------------------------------------------------------- the server

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket)
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        connection = self._connections
        try:
            while (asked := await self._next(reader, writer, connection)) is not None:
                await self._behave(asked)
        except ConnectionAbortedError:
            writer.transport.abort()
        finally:
            with self._changed:
                self._closed += 1
                self._changed.notify_all()
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _behave(self, asked: Asked) -> None:
        name = MODELS if asked.path.endswith("/models") else str(asked.json.get("model")) if asked.body else ""
        try:
            await self.behaviours.get(name, _list if name == MODELS else hello)(asked)
        except (BrokenPipeError, ConnectionResetError):
            asked.left = True
            raise ConnectionAbortedError from None
        finally:
            with self._changed:
                self._changed.notify_all()

    async def _next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> Asked | None:
        try:
            async with asyncio.timeout(self._idle_s):
                raw = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return None
        first, *lines = raw.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(first.split(" ")[1], headers, body, reader, writer, connection)
        with self._changed:
            self.asked.append(asked)
            model = asked.json.get("model") if body else None
            asked.nth = sum(bool(each.body) and each.json.get("model") == model for each in self.asked)
            self._changed.notify_all()
        return asked


async def _list(asked: Asked) -> None:
    await asked.answer(json.dumps({"object": "list", "data": []}).encode())
