"""A TCP proxy between the gateway and what it needs: it delays, stalls, cuts off and turns away, when it is told to."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.gateway import free_port

PIECE = 65536
ARRIVAL_S = 0.02
"""So long the server has for what was delivered, before the reset overtakes it."""


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)


class FaultProxy:
    """Use as a context manager; it runs in a thread of its own. `fault` may be called from any other."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.port = free_port()
        self.latency_s = 0.0
        """Added to each piece, either way."""
        self._links: set[_Link] = set()
        self._trap: tuple[bytes, bool] | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener: asyncio.Server | None = None

    @classmethod
    def before(cls, url: str) -> "FaultProxy":
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port)

    def through(self, url: str) -> str:
        """The same URL, by way of this."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}{'@' if user else ''}127.0.0.1:{self.port}"))

    # -------------------------------------------------------------- faults

    def stall(self) -> None:
        """Connections are taken, and nothing goes through, either way."""
        self._call(self._flowing.clear)

    def flow(self) -> None:
        self._call(self._flowing.set)

    def cut(self) -> None:
        """Every connection is reset."""
        self._call(self._cut)

    def cut_at(self, word: bytes, *, delivered: bool) -> None:
        """Every connection is reset when next a piece with `word` is on its way to the server, or when it has got there
        and nothing came back."""
        self._call(lambda: setattr(self, "_trap", (word, delivered)))

    def turn_to(self, host: str, port: int) -> None:
        """Connections from now on lead there."""
        self._call(lambda: setattr(self, "_target", (host, port)))

    def refuse(self) -> None:
        """As if nobody listened there."""
        self._wait(self._refuse())

    def accept(self) -> None:
        self._wait(self._accept())

    # -------------------------------------------------------------- how

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.flow()
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, change: Callable[[], object]) -> None:
        async def changed() -> None:
            change()

        self._wait(changed())

    def _wait(self, work: Any) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(10)

    async def _accept(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        tasks = [task for link in self._links for task in link.tasks]
        self._cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        for link in self._links:
            for end in (link.client, link.server):
                _reset(end)
            for task in link.tasks:
                task.cancel()
        self._links.clear()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(client)
            return
        link = _Link(client, server)
        self._links.add(link)
        ways = (reader, server, True), (answers, client, False)
        link.tasks = [asyncio.create_task(self._pass(link, *way)) for way in ways]

    async def _pass(
        self, link: _Link, source: asyncio.StreamReader, target: asyncio.StreamWriter, to_server: bool
    ) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                await self._flowing.wait()
                trap = self._trap if to_server else None
                sprung = trap is not None and trap[0] in piece
                if trap is None or not sprung or trap[1]:
                    target.write(piece)
                    await target.drain()
                if sprung:
                    self._trap = None
                    self._flowing.clear()
                    await asyncio.sleep(ARRIVAL_S)
                    self._cut()
                    self._flowing.set()
                    return
        self._links.discard(link)
        for end in (link.client, link.server):
            end.close()


def _reset(end: asyncio.StreamWriter) -> None:
    """Without a goodbye: what was not read is lost."""
    raw = end.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()
