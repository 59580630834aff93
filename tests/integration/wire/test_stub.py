"""The two rule breakers keep the rules where they are not told otherwise."""

from collections.abc import Iterator

import pytest

from tests.support.gateway import GatewayProcess, declared
from tests.support.raw_client import RawClient
from tests.support.stub_provider import StubProvider

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(stub.base_url, {"one": 1.0})
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, command="conduit serve") as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
def test_control_a_well_behaved_exchange(gateway: GatewayProcess, stub: StubProvider, stream: bool) -> None:
    with RawClient(gateway.port) as client:
        client.post(CHAT, {"model": "one", "messages": HELLO, "stream": stream})
        reply = client.reply()
    assert reply.status == 200
    assert b"Hello." in reply.body
    assert stub.of("one")[-1].streams is stream
