"""What goes to a real socket and comes back from it, when all is well."""

import asyncio
import base64
import gzip
import json

import pytest

from conduit.core.protocols import Call, Frame
from conduit.providers.openai import OpenAIProvider
from conduit.providers.session import SharedSession
from conduit.routing.errors import ConfigurationError
from tests.integration.providers.conftest import MakeCall
from tests.support.scripts import DONE, EVENT_STREAM, Reply, chunk, replies, says, sse, streams
from tests.support.upstream import FakeUpstream

STOP = chunk({}, "stop")
HELLO = chunk({"content": "Hello"})
USAGE = sse({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})


async def frames(provider: OpenAIProvider, call: Call) -> list[Frame]:
    return [frame async for frame in provider.stream(call)]


# ------------------------------------------------------------------ whole answers


async def test_the_answer_is_passed_on_as_it_came(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    text = b'{ "choices" : [ {"message": {"role":"assistant","content":"\\u00e9"}, "new": 1} ], "more": [1.50] }\n'
    upstream.plan("fake-model", replies(Reply([text])))
    answer = await provider.complete(call())
    assert answer.body == text
    assert answer.data == json.loads(text)


async def test_the_body_is_the_callers_but_for_the_model(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    sent = call(temperature=0.5, unknown={"deep": [None, "é"]}, logit_bias={"5": 1}, stream=False)
    await provider.complete(sent)
    assert upstream.requests[0].json == {**sent.body, "model": "fake-model"}


@pytest.mark.parametrize("odd", [2**70, "\ud83d", [[[]]]], ids=["big integer", "half a surrogate", "nested"])
async def test_what_the_fast_encoder_refuses_is_sent_all_the_same(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, odd: object
) -> None:
    for _ in range(300 if odd == [[[]]] else 0):
        odd = [odd]
    await provider.complete(call(seed=odd))
    assert upstream.requests[0].json["seed"] == odd


async def test_an_answer_that_the_fast_decoder_refuses_is_read_all_the_same(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    upstream.plan("fake-model", replies(Reply([b'{"choices":[{"message":{"content":"\\ud83d"},"logprobs":NaN}]}'])))
    answer = await provider.complete(call())
    assert answer.data["choices"][0]["message"] == {"content": "\ud83d"}  # type: ignore[index]


async def test_key_headers_and_query_are_sent(upstream: FakeUpstream, call: MakeCall) -> None:
    url = upstream.base_url + "/?first=1"
    provider = OpenAIProvider(url, " sk-secret\n", headers=[("X-Org", "acme")], query=[("api-version", "v 1")])
    await provider.complete(call(headers={"traceparent": "00-1", "Authorization": "Bearer callers"}))
    await provider.close()
    received = upstream.requests[0]
    assert received.query == "first=1&api-version=v+1"
    assert received.path == "/v1/chat/completions"
    expected = {"authorization": "Bearer sk-secret", "x-org": "acme", "traceparent": "00-1"}
    assert expected.items() <= received.headers.items()
    assert received.headers["accept-encoding"] == "identity"


async def test_no_key_is_no_header(upstream: FakeUpstream, call: MakeCall) -> None:
    provider = OpenAIProvider(upstream.base_url)
    await provider.complete(call())
    await provider.close()
    assert "authorization" not in upstream.requests[0].headers


async def test_user_and_password_in_the_address_are_sent_as_such(upstream: FakeUpstream, call: MakeCall) -> None:
    provider = OpenAIProvider(upstream.base_url.replace("://", "://me:pass@"), "sk-unused")
    await provider.complete(call())
    await provider.close()
    assert upstream.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"me:pass").decode()


async def test_cookies_are_not_kept(upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall) -> None:
    body = b'{"choices":[{"message":{}}]}'
    upstream.plan("fake-model", replies(Reply([body], headers={"set-cookie": "who=alice; path=/"})))
    await provider.complete(call())
    await provider.complete(call())
    assert "cookie" not in upstream.requests[1].headers


async def test_a_compressed_answer_is_understood(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    body = b'{"choices":[{"message":{}}]}'
    upstream.plan("fake-model", replies(Reply([gzip.compress(body)], headers={"content-encoding": "gzip"})))
    assert (await provider.complete(call())).body == body


async def test_a_large_request_is_sent_whole(upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall) -> None:
    image = "A" * 3_000_000
    await provider.complete(call(image=image))
    assert upstream.requests[0].json["image"] == image


async def test_embeddings_are_passed_on(upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall) -> None:
    answer = await provider.embed(call(input="hello"))
    assert answer.data["data"][0]["embedding"] == [0.6, 0.8]  # type: ignore[index]
    assert upstream.requests[0].path == "/v1/embeddings"


async def test_a_shared_session_stays_open_when_one_provider_closes(upstream: FakeUpstream, call: MakeCall) -> None:
    session = SharedSession()
    one, other = (OpenAIProvider(upstream.base_url, session=session) for _ in range(2))
    await one.complete(call())
    await one.close()
    await other.complete(call())
    await session.close()


@pytest.mark.parametrize("url", ["", "api.example.com/v1", "ftp://x/v1", "https://", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        OpenAIProvider(url)


def test_a_key_with_a_line_break_is_refused_at_once_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        OpenAIProvider("http://host/v1", "sk-a\nb")
    assert "sk-a" not in str(caught.value)


# ------------------------------------------------------------------ streams


async def test_frames_are_byte_for_byte_what_was_sent(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    odd = b'data:{"choices": [ {"index":0,"delta":{"content":"\\ud83d"}} ]}\r\n\r\n'
    sent = [b": ping\n\n", HELLO, odd, b"event: x\ndata: {}\n\n", STOP]
    upstream.plan("fake-model", streams(*sent, DONE))
    got = await frames(provider, call(stream=True))
    assert [frame.raw for frame in got] == sent
    assert [frame.data is None for frame in got] == [True, False, False, False, False]


async def test_usage_is_asked_for_and_kept_from_a_caller_who_did_not(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    upstream.plan("fake-model", streams(HELLO, STOP, USAGE, DONE))
    got = await frames(provider, call(stream=True, stream_options={"other": 1}))
    assert [frame.raw for frame in got] == [HELLO, STOP, b""]
    assert got[-1].data is not None
    assert got[-1].data["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert upstream.requests[0].json["stream_options"] == {"other": 1, "include_usage": True}


async def test_a_caller_who_asked_for_usage_gets_it(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    upstream.plan("fake-model", says("Hi."))
    got = await frames(provider, call(stream=True, stream_options={"include_usage": True}))
    assert got[-1].raw.startswith(b"data: ")
    assert got[-1].data is not None
    assert got[-1].data["choices"] == []


async def test_a_server_that_does_not_know_stream_options_is_not_sent_any(
    upstream: FakeUpstream, call: MakeCall
) -> None:
    provider = OpenAIProvider(upstream.base_url, usage_in_streams=False)
    upstream.plan("fake-model", streams(HELLO, STOP, USAGE, DONE))
    got = await frames(provider, call(stream=True))
    await provider.close()
    assert "stream_options" not in upstream.requests[0].json
    assert got[-1].raw == USAGE, "nobody asked, so it is not ours to hide"


async def test_a_first_frame_without_choices_is_passed_on(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    """Azure begins with its content filter's results."""
    filtered = sse({"choices": [], "prompt_filter_results": []})
    upstream.plan("fake-model", streams(filtered, HELLO, STOP, DONE))
    assert [frame.raw for frame in await frames(provider, call(stream=True))] == [filtered, HELLO, STOP]


@pytest.mark.parametrize("ending", [b"", b"data: [DONE]", b"data: [DONE]\n"], ids=["none", "cut short", "one line end"])
async def test_a_stream_whose_choices_all_finished_needs_no_done(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall, ending: bytes
) -> None:
    sent = [chunk({"content": "a"}), chunk({"content": "b"}, index=1), STOP, chunk({}, "stop", index=1)]
    upstream.plan("fake-model", streams(*sent, ending))
    assert [frame.raw for frame in await frames(provider, call(stream=True))] == sent


async def test_a_connection_cut_after_everything_was_said_is_no_failure(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    upstream.plan("fake-model", streams(HELLO, STOP, ending="cut", interval_s=0.1))
    assert [frame.raw for frame in await frames(provider, call(stream=True))] == [HELLO, STOP]


async def test_a_connection_is_used_again_after_a_stream(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    for _ in range(3):
        await frames(provider, call(stream=True))
    assert len({received.client for received in upstream.requests}) == 1


async def test_a_server_that_goes_on_after_done_is_left(
    upstream: FakeUpstream, provider: OpenAIProvider, call: MakeCall
) -> None:
    endless = Reply([HELLO, STOP, DONE], content_type=EVENT_STREAM, ending="stall")
    upstream.plan("fake-model", replies(endless))
    assert [frame.raw for frame in await frames(provider, call(stream=True))] == [HELLO, STOP]
    await asyncio.to_thread(upstream.wait_until_gone)
