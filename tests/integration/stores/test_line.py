"""The way to Redis: addresses, greetings, TLS, and what becomes of questions when the line is not what it should be."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from redis.asyncio import Redis

from conduit.core.errors import WindowUnavailable
from conduit.routing.errors import ConfigurationError
from conduit.stores.redis.courier import Courier, Script
from conduit.stores.redis.line import Address
from tests.support.fault_proxy import FaultProxy
from tests.support.valkey import ValkeyServer, redis_url, valkey

__all__ = ["redis_url", "valkey"]

PATIENT_S = 10.0
"""A busy machine is no failure."""
SECRET = "marked-secret"


def run_on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    """As in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


@asynccontextmanager
async def courier_to(url: str, *scripts: Script, patience_s: float = PATIENT_S) -> AsyncIterator[Courier]:
    courier = Courier(Address.parse(url), scripts, patience_s=patience_s)
    yield courier
    await courier.close()


# ------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("url", "place", "greeting"),
    [
        ("redis://", ("localhost", 6379, ""), []),
        ("redis://cache.internal:7000/", ("cache.internal", 7000, ""), []),
        ("redis://h/3", ("h", 6379, ""), [("SELECT", "3")]),
        ("redis://h?db=4", ("h", 6379, ""), [("SELECT", "4")]),
        ("redis://:p%40ss@h/0", ("h", 6379, ""), [("AUTH", "p@ss")]),
        ("redis://:@h", ("h", 6379, ""), []),
        ("redis://open@h", ("h", 6379, ""), [("AUTH", "open", "")]),
        ("redis://me:pw@[::1]:1/2", ("::1", 1, ""), [("AUTH", "me", "pw"), ("SELECT", "2")]),
        ("unix:///run/my%20redis.sock?db=1", ("localhost", 6379, "/run/my redis.sock"), [("SELECT", "1")]),
        ("unix://:pw@/run/redis.sock", ("localhost", 6379, "/run/redis.sock"), [("AUTH", "pw")]),
    ],
)
def test_an_address_says_where_and_what_is_said_first(url: str, place: object, greeting: list[object]) -> None:
    address = Address.parse(url)
    assert (address.host, address.port, address.path) == place
    assert address.greeting == (*greeting, ("PING",))
    assert address.tls is None


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@host",
        f"redis://:{SECRET}@host/none",
        f"redis://:{SECRET}@host:port",
        f"redis://:{SECRET}@host?ssl_ca_cert=misspelt",
        f"rediss://:{SECRET}@host?ssl_cert_reqs={SECRET}",
        f"rediss://:{SECRET}@host?ssl_check_hostname=perhaps",
        f"unix://:{SECRET}@",
        f"rediss://:{SECRET}@host?ssl_ca_certs=/no/such/{SECRET}.pem",
    ],
)
def test_a_wrong_address_is_named_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL") as raised:
        Address.parse(url)
    assert SECRET not in str(raised.value)


def test_what_an_address_says_of_a_password_is_not_shown() -> None:
    assert SECRET not in repr(Address.parse(f"redis://:{SECRET}@host"))


def test_a_certificate_is_looked_at_unless_the_address_says_otherwise() -> None:
    def looked_at(options: str) -> tuple[ssl.VerifyMode, bool]:
        context = Address.parse(f"rediss://host?{options}").tls
        assert context is not None
        return context.verify_mode, context.check_hostname

    assert looked_at("") == (ssl.CERT_REQUIRED, True)
    assert looked_at("ssl_cert_reqs=optional&ssl_check_hostname=true") == (ssl.CERT_REQUIRED, True)
    assert looked_at("ssl_check_hostname=False") == (ssl.CERT_REQUIRED, False)
    assert looked_at("ssl_cert_reqs=none") == (ssl.CERT_NONE, False)


# ------------------------------------------------------------------ ways


def test_by_tcp_and_by_a_socket_of_the_file_system_in_a_database_and_with_a_password(valkey: ValkeyServer) -> None:
    async def asked() -> None:
        async with Redis.from_url(valkey.url) as redis:
            await redis.config_set("requirepass", "pass word")
            await redis.acl_setuser("me", enabled=True, passwords=["+mine"], commands=["+@all"], keys=["*"])
        ways = f"redis://:pass%20word@127.0.0.1:{valkey.port}/1", f"unix://me:mine@{valkey.socket}?db=1"
        for way in ways:
            async with courier_to(way) as courier:
                await courier.open()
                await courier.ask("SET", "way", way)
                assert await courier.ask("GET", "way") == way.encode()
        async with courier_to(ways[0]) as courier:
            assert await courier.ask("GET", "way") == ways[1].encode()
            assert await courier.ask("SELECT", 0) == b"OK"
            assert await courier.ask("GET", "way") is None

    run_on_uvloop(asked())


@pytest.mark.parametrize("wrong", [f"me:{SECRET}@", f":{SECRET}@", ""])
async def test_who_is_not_let_in_is_told_so_without_what_he_said(valkey: ValkeyServer, wrong: str) -> None:
    async with Redis.from_url(valkey.url) as redis:
        await redis.config_set("requirepass", "right")
    async with courier_to(valkey.url.replace("redis://", f"redis://{wrong}")) as courier:
        with pytest.raises(WindowUnavailable) as raised:
            await courier.open()
    assert str(raised.value) == ("WRONGPASS" if wrong else "NOAUTH")


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def served(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server's port; it ends when all are served."""
    tasks: list[asyncio.Task[Any]] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.extend(filter(None, [asyncio.current_task()]))
        with suppress(OSError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.gather(*tasks)


@asynccontextmanager
async def encrypted(port: int, folder: Path) -> AsyncIterator[int]:
    """Ends TLS before a server that speaks none; who connects must bring a certificate, too."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost").configure_cert(context)
    authority.issue_cert("me@host").private_key_and_cert_chain_pem.write_to_path(str(folder / "me.pem"))
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    async def passed(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(65536):
                target.write(piece)
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(passed(reader, server), passed(answers, writer))

    async with served(serve, context) as relay:
        yield relay


def test_over_tls_both_ends_are_looked_at(redis_url: str, tmp_path: Path) -> None:
    async def asked() -> None:
        async with encrypted(Address.parse(redis_url).port, tmp_path) as port:
            ca, mine = f"ssl_ca_certs={tmp_path}/ca.pem", f"ssl_certfile={tmp_path}/me.pem"
            async with courier_to(f"rediss://localhost:{port}?{ca}&{mine}") as courier:
                assert await courier.ask("ECHO", "x" * 100_000) == b"x" * 100_000
            for wrong in (f"localhost:{port}?{mine}", f"127.0.0.1:{port}?{ca}&{mine}", f"localhost:{port}?{ca}"):
                async with courier_to(f"rediss://{wrong}") as courier:
                    with pytest.raises(WindowUnavailable):
                        await courier.ask("PING")

    run_on_uvloop(asked())


# ------------------------------------------------------------------ when it is not what it should be


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_asks_over_a_connection_that_was_reset_is_not_kept_waiting(redis_url: str, loop: Any) -> None:
    """On uvloop the write itself fails, and with no OSError."""

    async def asked(proxy: FaultProxy) -> None:
        async with courier_to(proxy.through(redis_url)) as courier:
            await courier.open()
            for _ in range(5):
                await asyncio.to_thread(proxy.cut)
                with suppress(WindowUnavailable):
                    async with asyncio.timeout(PATIENT_S):
                        await courier.ask("PING")
                assert await courier.ask("PING") == b"PONG"

    with FaultProxy.before(redis_url) as proxy, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asked(proxy))


async def test_who_has_given_up_gets_no_answer_and_nobody_else_gets_his(redis_url: str) -> None:
    async with courier_to(redis_url) as courier:
        asked = [asyncio.ensure_future(courier.ask("ECHO", n)) for n in range(200)]
        await asyncio.sleep(0)
        for question in asked[::3]:
            question.cancel()
        for n, question in enumerate(asked):
            if n % 3:
                assert await question == str(n).encode()
        assert await courier.ask("ECHO", "next") == b"next"


async def test_an_end_that_is_looked_at_meanwhile_takes_no_answer_of_others(redis_url: str) -> None:
    """As readiness does, while limits are asked for."""
    async with courier_to(redis_url, Script.named("enter")) as courier:
        looks = [courier.open() for _ in range(20)]
        answers = await asyncio.gather(*looks, *(courier.ask("ECHO", n) for n in range(100)), *[courier.open()])
        assert answers[20:-1] == [str(n).encode() for n in range(100)]


async def test_one_refusal_among_answers_is_one_and_is_known_by_its_code(redis_url: str) -> None:
    async with courier_to(redis_url) as courier:
        questions = courier.ask("ECHO", 1), courier.ask("NONSENSE", SECRET), courier.ask("ECHO", 2)
        first, refused, second = await asyncio.gather(*questions, return_exceptions=True)
        assert (first, second) == (b"1", b"2")
        assert isinstance(refused, WindowUnavailable)
        assert str(refused) == "ERR"


async def test_a_server_that_has_become_a_replica_is_left_for_the_one_of_now(valkey: ValkeyServer) -> None:
    async with courier_to(valkey.url) as courier, Redis.from_url(valkey.url) as redis:
        await courier.open()
        before = (await redis.info("clients"))["connected_clients"]
        for primary, others in ("127.0.0.1", -1), ("NO", 0):
            await redis.execute_command("REPLICAOF", primary, "ONE" if primary == "NO" else valkey.port)
            if primary == "NO":
                assert await courier.ask("SET", "a", 1) == b"OK"
            else:
                with pytest.raises(WindowUnavailable, match="READONLY"):
                    await courier.ask("SET", "a", 1)
            async with asyncio.timeout(PATIENT_S):
                while (await redis.info("clients"))["connected_clients"] != before + others:
                    pass


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+PONG\r\n+PONG\r\n"])
async def test_what_is_no_answer_ends_the_line(nonsense: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = b"+PONG\r\n"
        while await reader.read(100):
            writer.write(answer)
            answer = nonsense

    async with served(serve) as port, courier_to(f"redis://127.0.0.1:{port}") as courier:
        for _ in range(2):
            with pytest.raises(WindowUnavailable):
                await courier.ask("PING")


async def test_a_server_that_hangs_up_while_it_is_asked_is_not_waited_for() -> None:
    """Though what it was asked did not all go out."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"+PONG\r\n")
        await reader.read(100)
        writer.write_eof()
        while await reader.read(65536):
            pass

    async with (
        served(serve) as port,
        courier_to(f"redis://127.0.0.1:{port}") as courier,
        asyncio.timeout(PATIENT_S / 2),
    ):
        await courier.open()
        big = asyncio.ensure_future(courier.ask("ECHO", "x" * 20_000_000))
        looks = [asyncio.ensure_future(courier.open()) for _ in range(3)]
        async with asyncio.timeout(PATIENT_S / 2):
            for asked in (big, *looks):
                with suppress(WindowUnavailable):
                    assert await asked is None
        assert big.exception() is not None


def test_a_connection_that_takes_longer_than_those_who_ask_wait_is_there_for_who_comes_later(
    valkey: ValkeyServer,
) -> None:
    async def asked(proxy: FaultProxy) -> None:
        async with Redis.from_url(valkey.url) as redis:
            await redis.config_set("requirepass", "right")
            async with courier_to(proxy.through(f"redis://:right@127.0.0.1:{valkey.port}"), patience_s=0.05) as courier:
                proxy.stall()
                for _ in range(3):
                    with pytest.raises(WindowUnavailable, match="TimeoutError"):
                        await courier.ask("PING")
                came = (await redis.info("stats"))["total_connections_received"]
                await asyncio.to_thread(proxy.flow)
                async with asyncio.timeout(PATIENT_S):
                    while True:
                        with suppress(WindowUnavailable):
                            assert await courier.ask("PING") == b"PONG"
                            break
                assert (await redis.info("stats"))["total_connections_received"] == came

    with FaultProxy.before(valkey.url) as proxy:
        run_on_uvloop(asked(proxy))


async def test_who_closes_does_not_wait_for_a_connection_that_does_not_come(valkey: ValkeyServer) -> None:
    with FaultProxy.before(valkey.url) as proxy:
        proxy.stall()
        courier = Courier(Address.parse(proxy.through(f"redis://:right@127.0.0.1:{valkey.port}")), (), patience_s=0.01)
        with pytest.raises(WindowUnavailable):
            await courier.ask("PING")
        async with asyncio.timeout(PATIENT_S / 2):
            await courier.close()


def test_a_connection_that_takes_most_of_the_patience_is_kept_for_who_asks_next(valkey: ValkeyServer) -> None:
    """Greeting and question would each be in time, and both are not."""

    async def asked(proxy: FaultProxy) -> None:
        proxy.latency_s = 0.1
        async with courier_to(proxy.through(valkey.url), patience_s=0.3) as courier, asyncio.timeout(PATIENT_S):
            while True:
                with suppress(WindowUnavailable):
                    assert await courier.ask("ECHO", 1) == b"1"
                    break

    with FaultProxy.before(valkey.url) as proxy:
        run_on_uvloop(asked(proxy))


async def test_after_its_end_nothing_is_asked_and_who_waits_for_it_to_begin_is_told(valkey: ValkeyServer) -> None:
    with FaultProxy.before(valkey.url) as proxy:
        proxy.stall()
        courier = Courier(Address.parse(proxy.through(valkey.url)), ())
        opening = asyncio.ensure_future(courier.open())
        await asyncio.sleep(0)
        await courier.close()
        for asked in (opening, courier.open(), courier.ask("PING")):
            with pytest.raises(WindowUnavailable, match="closed"):
                await asked
