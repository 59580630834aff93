"""Heads that are slow, endless or late, on real sockets: connections end, and who behaves notices nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from uvicorn import Config
from uvicorn.server import ServerState

from conduit.api.head import MOST_AROUND, BoundedHead
from conduit.api.headers import USUAL

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Wire]]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
LINE = b"x: " + b"y" * 60_000 + b"\r\n"


async def names_and_body(request: Request) -> PlainTextResponse:
    body = await request.body()
    return PlainTextResponse(f"{sorted(request.headers.keys())} {len(body)}")


async def unread(request: Request) -> PlainTextResponse:
    return PlainTextResponse("unread")


async def slow(request: Request) -> PlainTextResponse:
    """So long that a head would be given up."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.call_later(2 * Impatient.head_s, over.set)
    await over.wait()
    return PlainTextResponse("slow")


class Impatient(BoundedHead):
    head_s = 0.05
    unread_s = 0.05


class Endless:
    """An answer that goes on for as long as somebody takes it."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def answer(self, request: Request) -> StreamingResponse:
        return StreamingResponse(self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                await asyncio.sleep(0)  # as a provider's stream would
                yield b"x" * 65_536
        finally:
            self.over.set()


@asynccontextmanager
async def listening(protocol: type[BoundedHead], *more: Route) -> AsyncIterator[Connect]:
    routes = [
        *more,
        Route("/", names_and_body, methods=["GET", "POST"]),
        Route("/unread", unread, methods=["POST"]),
        Route("/slow", slow),
    ]
    config = Config(Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", timeout_keep_alive=60)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield lambda: asyncio.open_connection("127.0.0.1", port)


async def left(wire: Wire) -> bytes:
    """All that comes until the server ends the connection."""
    reader, writer = wire
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return said


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"G", b"HTTP/1.1 408 Request Timeout"),
        (GET + b"x", b"HTTP/1.1 408 Request Timeout"),
    ],
)
async def test_who_does_not_bring_a_head_in_time_is_cut_off(sent: bytes, said: bytes) -> None:
    async with listening(Impatient) as connect:
        wire = await connect()
        wire[1].write(sent)
        assert (await left(wire)).partition(b"\r\n")[0] == said


async def test_what_is_no_request_is_told_so_in_the_envelope_under_the_usual_headers() -> None:
    bad = GET + b"authorization: Bearer a\x01b\r\n\r\n"
    for sent, status, code in ((bad, 400, "invalid_request"), (b"G", 408, "request_timeout")):
        async with listening(Impatient) as connect:
            wire = await connect()
            wire[1].write(sent)
            head, _, body = (await left(wire)).partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        headers = dict(field.split(b": ", 1) for field in fields)
        assert int(first.split()[1]) == status
        assert orjson.loads(body)["error"]["code"] == code
        assert headers[b"content-length"] == b"%d" % len(body)
        assert headers[b"content-type"] == b"application/json"
        assert headers[b"connection"] == b"close"
        assert dict(USUAL).items() <= headers.items()


async def test_bytes_now_and_then_win_no_time() -> None:
    """Nor do those of a body that nobody waits for."""
    async with listening(Impatient) as connect:
        for begun in (GET + b"x: ", b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 90000\r\n\r\n"):
            reader, writer = await connect()
            writer.write(begun)
            ended = asyncio.create_task(left((reader, writer)))
            while not ended.done():
                writer.write(b"y")
                await asyncio.wait({ended}, timeout=0.01)
            assert ended.result().split()[1] in {b"408", b"200"}


async def test_a_head_behind_a_request_that_is_answered_slowly_has_its_time_from_then() -> None:
    async with listening(Impatient) as connect:
        wire = await connect()
        wire[1].write(GET.replace(b"/", b"/slow", 1) + b"\r\n" + GET)
        said = await left(wire)
        assert b"slowHTTP/1.1 408" in said


async def test_a_connection_that_is_used_again_lasts_longer_than_a_head_may_take() -> None:
    class Patient(BoundedHead):
        head_s = 1.0  # of which a busy machine may take two thirds

    async with listening(Patient) as connect:
        reader, writer = await connect()
        for _ in range(4):
            writer.write(GET[:9])
            await writer.drain()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), Patient.head_s / 3)
            writer.write(GET[9:] + b"\r\n")
            assert (await asyncio.wait_for(reader.readuntil(b"['host'] 0"), 10)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_request_that_is_answered_slower_than_a_head_may_be_is_answered() -> None:
    """Its body has a deadline of its own; and of a head behind it no byte is refused before the answer is whole."""
    async with listening(Impatient) as connect:
        reader, writer = await connect()
        writer.write(CHUNKED + b"1\r\nx\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 2 * Impatient.head_s)
        writer.write(b"0\r\n\r\n" + GET)
        said = await left((reader, writer))
        assert b" 1HTTP/1.1 408" in said
        assert said.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (GET, LINE),
        (GET + b"x: ", b"y" * 65_536),
        (b"GET /", b"y" * 65_536),
        (CHUNKED + b"1;", b"y" * 65_536),
        (CHUNKED + b"1\r\nx\r\n0\r\n", LINE),
    ],
    ids=["headers", "header", "url", "extension", "trailers"],
)
async def test_what_is_endless_is_ended(begin: bytes, more: bytes) -> None:
    async with listening(BoundedHead) as connect:
        reader, writer = await connect()
        writer.write(begin)
        await writer.drain()
        ended, sent = asyncio.create_task(left((reader, writer))), 0
        while not ended.done() and sent < 400 * MOST_AROUND:
            writer.write(more)
            sent += len(more)
            await asyncio.wait({ended}, timeout=0.001)
        assert sent < 100 * MOST_AROUND
        assert ended.exception() is not None or ended.result()[:12] in {b"", b"HTTP/1.1 431"}


async def test_bodies_in_pieces_of_one_byte_have_enough_around_them() -> None:
    """And what comes behind them is no header of theirs."""
    async with listening(BoundedHead) as connect:
        reader, writer = await connect()
        writer.write(CHUNKED)
        for _ in range(100):
            writer.write(b"1\r\nx\r\n" * 1000)
            await writer.drain()
        writer.write(b"0\r\nauthorization: late\r\n\r\n" + GET + b"connection: close\r\n\r\n")
        said = await left((reader, writer))
        assert b"['host', 'transfer-encoding'] 100000" in said
        assert b"['connection', 'host'] 0" in said


async def test_who_does_not_read_an_answer_is_cut_off_and_the_answer_ended() -> None:
    endless = Endless()
    async with listening(Impatient, Route("/endless", endless.answer)) as connect:
        reader, writer = await connect()
        writer.transport.pause_reading()
        writer.write(GET.replace(b"/", b"/endless", 1) + b"\r\n")
        await asyncio.wait_for(endless.over.wait(), 10)
        writer.transport.resume_reading()
        with suppress(ConnectionError):
            assert b"HTTP/1.1 200" in await left((reader, writer))
        writer.close()


async def test_who_goes_on_reading_is_not_cut_off() -> None:
    """All the time there is more than can be sent, but never for long the same."""
    endless = Endless()
    async with listening(Impatient, Route("/endless", endless.answer)) as connect:
        reader, writer = await connect()
        writer.write(GET.replace(b"/", b"/endless", 1) + b"\r\n")
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 4 * Impatient.unread_s
        while loop.time() < until_s:
            await reader.readexactly(65_536)
        assert not endless.over.is_set()
        writer.transport.abort()
        await asyncio.wait_for(endless.over.wait(), 10)


async def test_a_whole_answer_may_take_longer_than_a_part_of_it() -> None:
    """All of it waits at once, and it is read steadily."""

    async def whole(request: Request) -> PlainTextResponse:
        return PlainTextResponse("x" * 64_000_000)

    class Lenient(BoundedHead):
        unread_s = 0.25

    async with listening(Lenient, Route("/whole", whole)) as connect:
        reader, writer = await connect()
        writer.write(GET.replace(b"/", b"/whole", 1) + b"\r\n")
        loop, read = asyncio.get_running_loop(), 0
        began_s = loop.time()
        while read < 64_000_000:
            piece = await asyncio.wait_for(reader.read(200_000), 10)
            assert piece, "cut off"
            read += len(piece)
            await asyncio.sleep(0.004)
        assert loop.time() - began_s > 4 * Lenient.unread_s
        writer.close()
