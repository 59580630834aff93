"""A provider that sends as fast as it can, and callers that leave it: it is let go at once."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess, declared, until
from tests.support.raw_client import RawClient
from tests.support.stub_provider import Asked, StubProvider, delta, event

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
SOON_S = 4.0
"""At once takes 20 ms, and was half a minute; the machine is shared."""


async def _flooded(asked: Asked, piece: bytes) -> None:
    await asked.begin_stream()
    await asked.piece(delta(role="assistant", content="Hello."))
    while True:
        await asked.piece(piece)


async def large(asked: Asked) -> None:
    """Of events of 64 KB."""
    await _flooded(asked, delta(content="x" * 65_000))


async def small(asked: Asked) -> None:
    await _flooded(asked, delta(content="x") * 500)


async def silent(asked: Asked) -> None:
    """Of events that the caller sees nothing of: usage that it has not asked for."""
    await _flooded(
        asked, event({"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}) * 500
    )


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider({"large": large, "small": small, "silent": silent}) as provider:
        yield provider


@pytest.fixture(scope="module", params=["conduit serve", "uvicorn"])
def gateway(
    stub: StubProvider, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[GatewayProcess]:
    config = declared(stub.base_url, {"large": 1.0, "small": 1.0, "silent": 1.0})
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, command=request.param) as running:
        yield running


def left(client: RawClient) -> None:
    client.leave()


def closed(client: RawClient) -> None:
    client.close()


@pytest.mark.parametrize("how", [left, closed], ids=["30 reset", "30 closed"])
@pytest.mark.parametrize("model", ["large", "small", "silent"])
@pytest.mark.parametrize("reads_s", [0.0, 1.0], ids=["at once", "after a second"])
def test_who_leaves_a_flood_is_noticed(
    gateway: GatewayProcess, stub: StubProvider, model: str, how: object, reads_s: float
) -> None:
    assert callable(how)
    stub.forget()
    with RawClient(gateway.port) as client:
        client.post(CHAT, {"model": model, "messages": HELLO, "stream": True})
        assert b"200" in client.until(b"\r\n\r\n")
        read_until = time.monotonic() + reads_s
        while time.monotonic() < read_until and model != "silent":
            client.receive(65_536)
        how(client)
        began = time.monotonic()
        asked = until(lambda: stub.of(model))[0]
        until(lambda: asked.left, 60)
    assert time.monotonic() - began < SOON_S


@pytest.mark.parametrize("model", ["large", "small", "silent"])
def test_40_control_a_provider_and_a_caller_that_never_stop_do_not_outlast_the_grace(
    stub: StubProvider, tmp_path: Path, model: str
) -> None:
    """One such pair never did; what takes seconds too long is many of them at once, for want of a processor."""
    env = {"API_GRACE_S": "1"}
    config = declared(stub.base_url, {model: 1.0})
    with (
        GatewayProcess(tmp_path, config=config, command="conduit serve", env=env) as gateway,
        RawClient(gateway.port, wait_s=60) as client,
        ThreadPoolExecutor() as pool,
    ):
        client.post(CHAT, {"model": model, "messages": HELLO, "stream": True})
        assert b"200" in client.until(b"\r\n\r\n")
        read = pool.submit(_all_of, client)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 1 + 2 * SOON_S
        assert read.result(60) >= 0


def _all_of(client: RawClient) -> int:
    """Read to the end of the connection; how much there was."""
    size = 0
    try:
        while piece := client.receive(65_536):
            size += len(piece)
    except ConnectionError:
        pass
    return size
