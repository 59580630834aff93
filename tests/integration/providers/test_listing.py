"""Servers that must be asked for their models are, and tell."""

from datetime import UTC, datetime

import pytest

from conduit.core.errors import UpstreamError, UpstreamTimeout
from conduit.providers import listing
from conduit.providers.discovery import Declared, discover
from conduit.providers.listed import Listed
from conduit.providers.listing import list_models
from conduit.providers.spec import ProviderSpec
from tests.integration.providers.conftest import RawServer
from tests.support.upstream import FakeUpstream

AT = datetime(2026, 11, 1, tzinfo=UTC)


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body


async def spec(raw_server: RawServer, *args: bytes, **how: bool) -> ProviderSpec:
    return ProviderSpec("raw", await raw_server(*args, **how))


async def test_a_server_in_the_environment_is_asked(upstream: FakeUpstream) -> None:
    upstream.models = ("llama3.2:3b", "nomic-embed-text")
    environ = {"OLLAMA_BASE_URL": upstream.base_url, "VLLM_BASE_URL": upstream.base_url, "VLLM_API_KEY": "sk-v"}
    discovery = await discover(environ, Declared(), at=AT)
    assert [model.name for model in discovery.models] == ["ollama/llama3.2:3b", "vllm/llama3.2:3b"]
    assert [model.price for model in discovery.models] == [None, None]
    assert discovery.silent == {}
    assert {received.headers.get("authorization") for received in upstream.requests} == {None, "Bearer sk-v"}


async def test_a_declared_server_without_models_is_asked(upstream: FakeUpstream) -> None:
    upstream.models = ("claude-haiku-4-5",)
    proxy = ProviderSpec("proxy", upstream.base_url, prices="anthropic")
    discovery = await discover({}, Declared([proxy]), at=AT)
    assert [model.name for model in discovery.models] == ["proxy/claude-haiku-4-5"]
    assert discovery.models[0].price


async def test_a_server_that_is_down_does_not_hide_the_others(raw_server: RawServer, upstream: FakeUpstream) -> None:
    upstream.models = ("up",)
    down = await raw_server(http(b"", b"503 Busy"))
    discovery = await discover({"OLLAMA_BASE_URL": down, "VLLM_BASE_URL": upstream.base_url}, Declared(), at=AT)
    assert [model.name for model in discovery.models] == ["vllm/up"]
    assert discovery.silent == {"ollama": "http 503"}


async def test_vllm_tells_its_context_window(raw_server: RawServer) -> None:
    body = b'{"data":[{"id":"m","max_model_len":4096},{"id":"n","max_model_len":null},{"id":7},8,{"id":""}]}'
    assert await list_models(await spec(raw_server, http(body))) == (Listed("m", 4096), Listed("n"))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data":"x"}'])
async def test_nonsense_is_garbage(raw_server: RawServer, body: bytes) -> None:
    with pytest.raises(UpstreamError, match="garbage"):
        await list_models(await spec(raw_server, http(body)))


async def test_silence_ends(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "TIMEOUT_S", 0.1)
    with pytest.raises(UpstreamTimeout):
        await list_models(await spec(raw_server, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", keep_open=True))
