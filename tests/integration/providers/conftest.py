"""A fake upstream, a provider that asks it, and servers that do not even speak HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from conduit.core.protocols import Call, Timeouts
from conduit.providers.openai import OpenAIProvider
from conduit.routing.catalogue import Model
from tests.support.upstream import FakeUpstream

MakeCall = Callable[..., Call]
RawServer = Callable[..., Awaitable[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def upstream(server: FakeUpstream) -> FakeUpstream:
    server.forget()
    return server


@pytest.fixture
async def provider(upstream: FakeUpstream) -> AsyncIterator[OpenAIProvider]:
    provider = OpenAIProvider(upstream.base_url, "sk-secret")
    yield provider
    await provider.close()


@pytest.fixture
def call() -> MakeCall:
    def make(
        *, timeout_s: float = 5.0, total_s: float | None = None, headers: dict[str, str] | None = None, **body: object
    ) -> Call:
        timeouts = Timeouts(total_s or timeout_s, timeout_s, timeout_s, timeout_s)
        asked = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], **body}
        return Call(Model(name="nice", provider="fake", upstream="fake-model"), asked, timeouts, headers or {})

    return make


@pytest.fixture
async def raw_server() -> AsyncIterator[RawServer]:
    """Starts servers that read a request's head, write `reply` and close, at once or in the end."""
    servers: list[asyncio.Server] = []

    gone = asyncio.Event()

    async def start(reply: bytes = b"", *, reset: bool = False, keep_open: bool = False) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            if keep_open:
                await gone.wait()
            if reset:
                writer.transport.abort()
            writer.close()

        servers.append(await asyncio.start_server(talk, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/v1"

    yield start
    gone.set()
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture(params=["complete", "stream", "embed"])
def how(request: pytest.FixtureRequest) -> str:
    """A test that asks for this holds for every kind of call."""
    return str(request.param)
