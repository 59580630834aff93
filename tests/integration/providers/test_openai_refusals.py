"""A provider that refuses, or does not answer at all, and what is said of it."""

import asyncio
import socket

import pytest

from conduit.core.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.providers.openai import OpenAIProvider
from tests.integration.providers.conftest import MakeCall, RawServer
from tests.integration.providers.failing import failure
from tests.support.scripts import DONE, Reply, chunk, hangs, refuses, replies, streams
from tests.support.upstream import FakeUpstream

HELLO = chunk({"content": "Hello"})
STOP = chunk({}, "stop")
SECRET = b'{"error":{"message":"quote of the prompt"}}'

# ------------------------------------------------------------------ statuses


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_rejection_keeps_the_providers_own_words(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str, status: int
) -> None:
    upstream.plan("fake-model", refuses(status, SECRET))
    error = await failure(provider, call(), how=how)
    assert isinstance(error, UpstreamRejected)
    assert (str(error), error.status, error.body, error.counts) == (f"http {status}", status, SECRET, False)


async def test_a_rejections_body_is_bounded(upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall) -> None:
    upstream.plan("fake-model", refuses(400, b"x" * 200_000))
    error = await failure(provider, call(), how="complete")
    assert isinstance(error, UpstreamRejected)
    assert len(error.body) == 64 * 1024


async def test_a_rejection_stands_though_its_body_broke_off(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    upstream.plan("fake-model", replies(Reply([], status=400, headers={"content-length": "9"}, ending="cut")))
    assert isinstance(await failure(provider, call(), how="complete"), UpstreamRejected)


@pytest.mark.parametrize("status", [301, 401, 402, 403, 404, 418, 429])
async def test_the_operators_mistakes_do_not_count(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str, status: int
) -> None:
    upstream.plan("fake-model", refuses(status, SECRET, {"retry-after": "7", "location": "/v1/embeddings"}))
    error = await failure(provider, call(), how=how)
    assert type(error) is UpstreamError
    assert (str(error), error.status, error.counts) == (f"http {status}", status, False)
    assert len(upstream.requests) == 1, "redirects are not followed"


@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_server_errors_count(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str, status: int
) -> None:
    upstream.plan("fake-model", refuses(status, SECRET))
    error = await failure(provider, call(), how=how)
    assert type(error) is UpstreamError
    assert (str(error), error.status, error.counts) == (f"http {status}", status, True)


@pytest.mark.parametrize("status", [408, 504])
async def test_a_time_out_that_the_server_reports_is_a_time_out(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str, status: int
) -> None:
    upstream.plan("fake-model", refuses(status))
    error = await failure(provider, call(), how=how)
    assert isinstance(error, UpstreamTimeout)
    assert (error.status, error.counts) == (status, True)


# ------------------------------------------------------------------ no answer


async def test_silence_is_a_time_out(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str
) -> None:
    upstream.plan("fake-model", hangs())
    error = await failure(provider, call(timeout_s=0.2), how=how)
    assert isinstance(error, UpstreamTimeout)
    assert (str(error), error.counts) == ("timed out", True)
    await asyncio.to_thread(upstream.wait_until_gone)


async def test_a_server_that_never_reads_the_request_times_out(call: MakeCall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        provider = OpenAIProvider(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        error = await failure(provider, call(timeout_s=0.2, image="A" * 20_000_000), how="complete")
        await provider.close()
    assert isinstance(error, UpstreamTimeout)


async def test_a_stall_between_bytes_is_a_time_out(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str
) -> None:
    kind = "text/event-stream" if how == "stream" else "application/json"
    upstream.plan("fake-model", replies(Reply([HELLO], content_type=kind, ending="stall")))
    error = await failure(provider, call(timeout_s=0.2), how=how)
    assert isinstance(error, UpstreamTimeout)
    await asyncio.to_thread(upstream.wait_until_gone)


async def test_a_slow_stream_is_no_time_out(upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall) -> None:
    """The clock between pieces starts anew with each: altogether this takes longer than it allows."""
    sent = [chunk({"content": str(number)}) for number in range(8)]
    upstream.plan("fake-model", streams(*sent, STOP, DONE, interval_s=0.1))
    assert len([frame async for frame in provider.stream(call(timeout_s=0.6, total_s=30.0))]) == 9


async def test_nobody_listens(call: MakeCall, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    provider = OpenAIProvider(f"http://user:pass@127.0.0.1:{port}/v1")
    error = await failure(provider, call(), how=how)
    await provider.close()
    assert (str(error), error.counts) == ("connection refused", True)


async def test_no_such_host(call: MakeCall) -> None:
    provider = OpenAIProvider("http://nowhere.invalid/v1")
    error = await failure(provider, call(), how="complete")
    await provider.close()
    assert (str(error), error.counts) == ("unknown host", True)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_closed_before_the_answer(
    raw_server: RawServer, call: MakeCall, how: str, *, reset: bool
) -> None:
    provider = OpenAIProvider(await raw_server(reset=reset))
    error = await failure(provider, call(), how=how)
    await provider.close()
    assert (str(error), error.counts) == ("connection reset", True)


async def test_a_server_without_tls(upstream: FakeUpstream, call: MakeCall) -> None:
    provider = OpenAIProvider(upstream.base_url.replace("http:", "https:"))
    error = await failure(provider, call(), how="complete")
    await provider.close()
    assert (str(error), error.counts) == ("tls", True)
