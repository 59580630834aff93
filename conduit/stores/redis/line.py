"""One connection to Redis or Valkey: what is asked together goes out in one write, and its answers come together."""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hiredis import HiredisError, Reader, ReplyError, pack_command

from conduit.routing.errors import ConfigurationError

PORT = 6379
SAID = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
CHECKED = {"required": True, "optional": True, "none": False}
"""A server has a certificate, or it speaks no TLS: for who comes to it, optional is required."""
NOT_YET = object()


class Way(StrEnum):
    """To a server, as REDIS_URL begins."""

    TCP = "redis"
    TLS = "rediss"
    UNIX = "unix"


_SSL = {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
OPTIONS = {Way.TCP: {"db"}, Way.TLS: {"db"} | _SSL, Way.UNIX: {"db"}}
WRONG = (
    "REDIS_URL: must be of the form redis://host:6379/0, rediss://user:password@host:6379/0 or unix:///path?db=0; "
    f"options: db, and of rediss {', '.join(sorted(_SSL))}"
)

Words = tuple[Any, ...]
"""Of one command."""
Answered = Callable[[list[Any] | Exception], None]


class Turned(OSError):
    """The server lets nobody in who says what REDIS_URL says; by its code, as NOAUTH."""

    def __init__(self, refusal: ReplyError) -> None:
        super().__init__(code(refusal))


class Line(asyncio.Protocol):
    """Carries one group of questions at a time. A refusal is an answer too: a ReplyError."""

    def __init__(self) -> None:
        self._reader = Reader(notEnoughData=NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answered: Answered | None = None
        self._due = 0
        self._replies: list[Any] = []

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, questions: Sequence[bytes], answered: Answered) -> None:
        """`answered` is called once, with all answers in their order, or with the error that ended the line."""
        assert self._answered is None, "one group at a time"
        self._due, self._answered = len(questions), answered
        try:
            assert self._transport is not None
            self._transport.write(b"".join(questions))
        except Exception as error:  # noqa: BLE001  uvloop's closed sockets raise RuntimeError
            self._end(error)

    async def answers(self, questions: Sequence[Words]) -> list[Any]:
        """The same, awaited. Raises what ended the line."""
        told: asyncio.Future[list[Any] | Exception] = asyncio.get_running_loop().create_future()
        packed = [pack_command(words) for words in questions]
        self.ask(packed, lambda answers: None if told.done() else told.set_result(answers))
        answers = await told
        if isinstance(answers, Exception):
            raise answers
        return answers

    def drop(self) -> None:
        """At once; nobody is told."""
        self._answered = None
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """When the other end, too, knows."""
        self.drop()
        if self._transport is not None:
            await self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by descent

    def data_received(self, data: bytes) -> None:
        replies, answered = self._replies, self._answered
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not NOT_YET:
                replies.append(reply)
        except HiredisError as error:
            self._end(error)
            return
        if answered is None or len(replies) > self._due:  # whose answer would it be
            self._end(ConnectionError("an answer that nobody asked for"))
        elif len(replies) == self._due:
            self._replies, self._answered = [], None
            answered(replies)

    def eof_received(self) -> None:
        """Nothing comes any more: what is still to go out would only delay that."""
        self._end(ConnectionResetError())

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._lost.set_result(None)
        self._end(error or ConnectionResetError())

    def _end(self, error: Exception) -> None:
        answered = self._answered
        self.drop()
        if answered is not None:
            answered(error)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, and what it has to hear first."""

    host: str
    port: int
    path: str
    """Of a socket in the file system; empty: by TCP."""
    tls: ssl.SSLContext | None
    greeting: tuple[Words, ...] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """`redis`, `rediss` or `unix`; the database as path or `?db=`; of TLS `ssl_ca_certs`, `ssl_ca_path`,
        `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs=none`, `ssl_check_hostname=false`. Raises ConfigurationError."""
        try:
            return cls._parse(urlsplit(url))
        except (ValueError, KeyError, OSError):  # of which none may be shown: they repeat what they read
            raise ConfigurationError(WRONG) from None

    @classmethod
    def _parse(cls, parts: SplitResult) -> Self:
        way, options, path = Way(parts.scheme), dict(parse_qsl(parts.query)), unquote(parts.path)
        local = way is Way.UNIX
        if not options.keys() <= OPTIONS[way] or (local and not path):
            raise ValueError
        database = int(options.get("db") or (not local and path.strip("/")) or 0)
        host, port = unquote(parts.hostname or "localhost"), parts.port or PORT
        tls = _context(options) if way is Way.TLS else None
        return cls(host, port, path if local else "", tls, tuple(_greeting(parts, database)))

    async def reach(self) -> Line:
        """Raises OSError and HiredisError; of the former Turned where the server does not like the greeting."""
        loop, line = asyncio.get_running_loop(), Line()
        if self.path:
            await loop.create_unix_connection(lambda: line, self.path)
        else:
            await loop.create_connection(lambda: line, self.host, self.port, ssl=self.tls)
        try:
            for answer in await line.answers(self.greeting):
                if isinstance(answer, ReplyError):
                    raise Turned(answer)  # noqa: TRY301
        except BaseException:
            line.drop()
            raise
        return line


def _greeting(parts: SplitResult, database: int) -> Iterator[Words]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user or password:
        yield "AUTH", *([user] if user else []), password
    if database:
        yield "SELECT", str(database)
    yield ("PING",)


def _context(options: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"))
    if not SAID[options.get("ssl_check_hostname", "true").lower()]:
        context.check_hostname = False
    if not CHECKED[options.get("ssl_cert_reqs", "required").lower()]:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context


def code(refusal: ReplyError) -> str:
    """The one word of it that holds nothing of ours."""
    return str(refusal).partition(" ")[0]
