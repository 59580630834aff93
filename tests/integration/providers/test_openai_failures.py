"""A provider whose answer breaks off or is nonsense, and a caller who leaves."""

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from conduit.core.errors import UpstreamError, UpstreamRejected
from conduit.providers import openai
from conduit.providers.openai import OpenAIProvider
from tests.integration.providers.conftest import MakeCall, RawServer
from tests.integration.providers.failing import ask, failure, read
from tests.support.scripts import DONE, Ending, Reply, chunk, hangs, replies, sse, streams
from tests.support.upstream import FakeUpstream

HELLO = chunk({"content": "Hello"})
STOP = chunk({}, "stop")
SECRET = b'{"error":{"message":"quote of the prompt"}}'

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
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, sent: list[bytes], ending: Ending
) -> None:
    upstream.plan("fake-model", replies(Reply(sent, content_type="text/event-stream", ending=ending)))
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


@pytest.mark.parametrize(
    ("error", "words", "counts"),
    [
        ({"message": "quota"}, "error in answer", True),
        ({"message": "slow down", "code": 429}, "http 429", False),
        ({"message": "away", "code": 503}, "http 503", True),
        ({"message": "no", "code": 400}, "error in answer", True),
    ],
)
async def test_an_answer_that_tells_an_error_is_none(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, how: str, error: Any, words: str, counts: bool
) -> None:
    body = orjson.dumps({"error": error})
    kind = "text/event-stream" if how == "stream" else "application/json"
    upstream.plan(
        "fake-model", replies(Reply([b"data: %b\n\n" % body if how == "stream" else body], content_type=kind))
    )
    found = await failure(provider, call(), how=how)
    assert (str(found).replace("stream", "answer"), found.counts) == (words, counts)


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"role": "assistant", "content": ""}, "finish_reason": "error"},
        {"message": {"role": "assistant", "content": "a"}, "finish_reason": None, "error": {"message": "overloaded"}},
    ],
)
async def test_a_choice_that_tells_an_error_is_no_answer(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, choice: Any
) -> None:
    upstream.plan("fake-model", replies(Reply([orjson.dumps({"choices": [choice]})])))
    found = await failure(provider, call(), how="complete")
    assert (str(found), found.counts) == ("error in answer", True)


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
