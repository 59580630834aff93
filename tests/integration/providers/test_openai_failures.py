"""Every way in which a provider fails, over real sockets, and what is said of it."""

import asyncio
import socket
from contextlib import aclosing

import pytest

from conduit.core.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.core.protocols import Call
from conduit.providers import openai
from conduit.providers.openai import OpenAIProvider
from tests.integration.providers.conftest import MakeCall, RawServer
from tests.support.scripts import DONE, Reply, chunk, hangs, refuses, replies, sse, streams
from tests.support.upstream import FakeUpstream

HELLO = chunk({"content": "Hello"})
STOP = chunk({}, "stop")
SECRET = b'{"error":{"message":"quote of the prompt"}}'


async def failure(provider: OpenAIProvider, call: Call, *, how: str) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await ask(provider, call, how=how)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, (
        "the client's own error would be logged"
    )
    return caught.value


async def ask(provider: OpenAIProvider, call: Call, *, how: str) -> None:
    match how:
        case "complete":
            await provider.complete(call)
        case "embed":
            await provider.embed(call)
        case "stream":
            await read(provider, call, [])


async def read(provider: OpenAIProvider, call: Call, got: list[bytes]) -> None:
    async with aclosing(provider.stream(call)) as frames:
        async for frame in frames:
            got.append(frame.raw)  # noqa: PERF401 - what came before an exception matters


@pytest.fixture(params=["complete", "stream", "embed"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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


async def test_a_slow_drip_is_no_time_out(upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall) -> None:
    """The clock starts anew with each byte: altogether this takes longer than the time-out."""
    sent = [chunk({"content": str(number)}) for number in range(8)]
    upstream.plan("fake-model", streams(*sent, STOP, DONE, interval_s=0.1))
    assert len([frame async for frame in provider.stream(call(timeout_s=0.6))]) == 9


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


# ------------------------------------------------------------------ half an answer


@pytest.mark.parametrize("headers", [{}, {"content-length": "1000"}], ids=["chunked", "content-length"])
async def test_a_body_that_breaks_off(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, headers: dict[str, str]
) -> None:
    upstream.plan("fake-model", replies(Reply([b'{"choices":[{"message":{}}]}'], headers=headers, ending="cut")))
    for how in ("complete", "embed"):
        error = await failure(provider, call(), how=how)
        assert (str(error), error.counts) == ("broke off", True)


@pytest.mark.parametrize("ending", ["whole", "cut"])
@pytest.mark.parametrize(
    "sent",
    [
        [],
        [HELLO],
        [chunk({"content": "a"}), chunk({"content": "b"}, index=1), STOP],
        [HELLO, STOP.rstrip(b"\n")],
        [sse({"choices": []})],
    ],
    ids=["nothing", "no finish", "one of two choices", "cut in the last frame", "no choices"],
)
async def test_a_stream_that_breaks_off(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, sent: list[bytes], ending: str
) -> None:
    upstream.plan("fake-model", replies(Reply(sent, content_type="text/event-stream", ending=ending)))  # type: ignore[arg-type]
    error = await failure(provider, call(), how="stream")
    assert (str(error), error.counts) == ("broke off", True)


async def test_frames_before_a_break_are_given(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    upstream.plan("fake-model", streams(HELLO, b"data: {"))
    got: list[bytes] = []
    with pytest.raises(UpstreamError, match="broke off"):
        await read(provider, call(), got)
    assert got == [HELLO]


# ------------------------------------------------------------------ nonsense


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome to nginx</html>",
        b"\xff\xfe\xff",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":{}}',
        b'{"choices":[1]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":"hi"}]}',
        b'{"error":{"message":"quota"}}',
        b'{"data":[]}',
        b'{"data":[{"embedding":null}]}',
    ],
)
async def test_what_is_no_answer_is_garbage(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str, body: bytes
) -> None:
    upstream.plan("fake-model", replies(Reply([body])))
    error = await failure(provider, call(), how=how)
    assert (str(error), error.status, error.counts) == ("garbage", None, True)


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 abc what\r\n\r\n"])
async def test_what_is_not_even_http_is_garbage(raw_server: RawServer, call: MakeCall, reply: bytes) -> None:
    provider = OpenAIProvider(await raw_server(reply))
    error = await failure(provider, call(), how="complete")
    await provider.close()
    assert (str(error), error.counts) == ("garbage", True)


async def test_what_claims_to_be_compressed_and_is_not(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str
) -> None:
    kind = "text/event-stream" if how == "stream" else "application/json"
    upstream.plan("fake-model", replies(Reply([b"hello" * 9], content_type=kind, headers={"content-encoding": "gzip"})))
    error = await failure(provider, call(), how=how)
    assert (str(error), error.counts) == ("broke off", True)


@pytest.mark.parametrize(
    "data", [b"data: hello\n\n", b"data: [1]\n\n", b'data: {"choices":[1]}\n\n', b'data: {"choices":7}\n\n']
)
async def test_nonsense_within_a_stream_is_garbage(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, data: bytes
) -> None:
    upstream.plan("fake-model", streams(HELLO, data, STOP, DONE))
    assert str(await failure(provider, call(), how="stream")) == "garbage"


@pytest.mark.parametrize("data", [{"error": {"message": "quote"}}, {"object": "error", "message": "quote"}])
async def test_an_error_told_within_a_stream(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, data: dict[str, object]
) -> None:
    upstream.plan("fake-model", streams(HELLO, sse(data), DONE))
    error = await failure(provider, call(), how="stream")
    assert (str(error), error.counts) == ("error in stream", True)


async def test_an_answer_without_end_is_not_kept_in_memory(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "MAX_ANSWER_BYTES", 1000)
    upstream.plan("fake-model", replies(Reply([b"x" * 2000], ending="stall")))
    assert str(await failure(provider, call(), how="complete")) == "answer too long"
    await asyncio.to_thread(upstream.wait_until_gone)


async def test_a_request_nested_beyond_all_bounds_is_the_callers_mistake(
    provider: OpenAIProvider, call: MakeCall
) -> None:
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    error = await failure(provider, call(deep=deep), how="complete")
    assert isinstance(error, UpstreamRejected)
    assert error.status == 400


# ------------------------------------------------------------------ the client is gone


async def test_cancelling_closes_the_connection(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str
) -> None:
    upstream.plan("fake-model", hangs())

    asking = asyncio.create_task(ask(provider, call(), how=how))
    await asyncio.to_thread(upstream.wait_for_requests, 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.to_thread(upstream.wait_until_gone)


async def test_leaving_a_stream_half_read_closes_the_connection(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    upstream.plan("fake-model", streams(HELLO, ending="stall"))
    async with aclosing(provider.stream(call())) as frames:
        await anext(frames)
    await asyncio.to_thread(upstream.wait_until_gone)
