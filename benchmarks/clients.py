"""Clients that count: many at once in one event loop, each on a connection of its own that is kept alive."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

PROMPT = "Explain how a binary search tree stays balanced, with an example in Python."
BROKEN = (ConnectionError, asyncio.IncompleteReadError)


def body(*, stream: bool = False, prompt: str = PROMPT) -> bytes:
    asked = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    return orjson.dumps({**asked, "stream": True} if stream else asked)


@dataclass(slots=True)
class Reply:
    """One answer, to its last byte."""

    status: int
    headers: dict[str, str]
    content: bytes


@dataclass(slots=True)
class Count:
    """What the clients saw. `broken`: connections that were cut between a request and the end of its answer; `away`:
    those that could not be opened, or were found closed when the next request began."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    away: int = 0
    decisions: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def took(self, reply: Reply, seconds: float) -> None:
        self.statuses[reply.status] += 1
        self.seconds.append(seconds)
        if reply.status == 200 and "x-conduit-decision" in reply.headers:
            self.decisions.append(reply.headers["x-conduit-decision"])


class Client:
    """HTTP/1.1 to one port; no retries."""

    def __init__(self, port: int, *, headers: str = "") -> None:
        self._port, self._headers = port, headers
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def is_open(self) -> bool:
        return self._pair is not None and not self._pair[0].at_eof()

    async def open(self) -> None:
        await self.close()
        self._pair = await asyncio.open_connection("127.0.0.1", self._port)

    async def post(self, path: str, content: bytes) -> Reply:
        """Raises ConnectionError or IncompleteReadError when the connection is cut."""
        return await self._ask(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n{self._headers}\r\n".encode()
            + content
        )

    async def get(self, path: str) -> Reply:
        return await self._ask(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{self._headers}\r\n".encode())

    async def close(self) -> None:
        if self._pair is not None:
            self._pair[1].close()
            with suppress(OSError):
                await self._pair[1].wait_closed()
            self._pair = None

    async def _ask(self, raw: bytes) -> Reply:
        assert self._pair is not None
        reader, writer = self._pair
        writer.write(raw)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        if headers.get("transfer-encoding") == "chunked":
            content = b"".join([piece async for piece in _chunks(reader)])
        else:
            content = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            await self.close()
        return Reply(int(head[0].split(" ", 2)[1]), headers, content)


async def _chunks(reader: asyncio.StreamReader):  # type: ignore[no-untyped-def]  # noqa: ANN202  an async iterator of bytes
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


async def keep_asking(client: Client, content: bytes, count: Count, stop: asyncio.Event) -> None:
    """One request after the other; a cut connection is opened anew."""
    while not stop.is_set():
        if not client.is_open:
            try:
                await client.open()
            except OSError:
                count.away += 1
                await asyncio.sleep(0.01)
                continue
        started = time.perf_counter()
        try:
            reply = await client.post("/v1/chat/completions", content)
        except BROKEN:
            count.broken += 1
            await client.close()
        else:
            count.took(reply, time.perf_counter() - started)
