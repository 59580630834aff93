"""What happens to a request when models fail: who is asked next, what is recorded, what the caller is told."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import APIError, OpenAI

from tests.support.gateway import GatewayProcess, Reply, declared, free_port, problem, until
from tests.support.scripts import Reply as Said
from tests.support.scripts import Script, chunk, hangs, refuses, replies, says, streams
from tests.support.upstream import FakeUpstream

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"
TIMEOUT_S = 1.0
BEGUN = chunk({"role": "assistant", "content": "Once"}, more={"id": "chatcmpl-broken", "model": "first"})
HTML = replies(Said([b"<html>busy</html>"], content_type="text/html"))
CUT = replies(Said([b'{"id":"chatcmpl-1","choices":['], headers={"content-length": "500"}, ending="cut"))
NO_CHOICES = replies(Said([b'{"id":"x","object":"chat.completion","choices":[]}']))

FAILURES: dict[str, tuple[Script, str]] = {
    "http 500": (refuses(500), "http 500"),
    "too many requests": (refuses(429), "http 429"),
    "a wrong key": (refuses(401), "http 401"),
    "silence": (hangs(), "timed out"),
    "no JSON": (HTML, "garbage"),
    "no choices": (NO_CHOICES, "garbage"),
    "cut in the middle": (CUT, "broke off"),
}
STREAM_FAILURES: dict[str, tuple[Script, str]] = {
    "http 503": (refuses(503), "http 503"),
    "silence": (hangs(), "timed out"),
    "no event stream": (HTML, "garbage"),
    "an error first": (streams(b'data: {"error":{"message":"overloaded"}}\n\n'), "error in stream"),
    "garbage first": (streams(b"data: {oops\n\n"), "garbage"),
    "nothing at all": (streams(), "broke off"),
    "a head and then a cut": (streams(ending="cut"), "broke off"),
}


@pytest.fixture(scope="module")
def running(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    more = f'[providers.gone]\nbase_url = "http://127.0.0.1:{free_port()}/v1"\n'
    more += '[[models]]\nname = "nobody"\nprovider = "gone"\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 500\n'
    config = declared(fake_server.base_url, {"first": 1.0, "second": 2.0, "third": 40.0}, more=more)
    # "quality" weighs no latency: alternatives come in the order of their prices
    env = {"POLICY": "fixed:first", "PREFERENCES": "quality", "UPSTREAM_TIMEOUT_S": str(TIMEOUT_S)}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env) as gateway:
        yield gateway


@pytest.fixture
def gateway(running: GatewayProcess, fake: FakeUpstream) -> GatewayProcess:
    """Whose models have just answered, so that none is left alone because of an earlier test."""
    for model in ("first", "second", "third"):
        assert ask(running, model).status == 200
    fake.forget()
    return running


def ask(gateway: GatewayProcess, model: str = "auto", **more: object) -> Reply:
    return gateway.post(CHAT, {"model": model, "messages": HELLO, **more})


def outcome(gateway: GatewayProcess, decision: str) -> dict[str, Any]:
    """Once it is there: what became of a decision is written behind it."""
    found: dict[str, Any] = until(lambda: gateway.get(f"/v1/decisions/{decision}").json.get("outcome"))
    return found


def tried(outcome: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(attempt["model"], attempt["error"]) for attempt in outcome["attempts"]]


def last_decision(gateway: GatewayProcess, *, after: str = "") -> str:
    """Once there is another: a decision is written while the provider works, and errors do not wait for it."""

    def found() -> str:
        name: str = gateway.get("/v1/decisions?limit=1").json["data"][0]["id"]
        return name if name != after else ""

    return until(found)


# ------------------------------------------------------------------ the next one answers


@pytest.mark.parametrize("failure", FAILURES)
def test_when_a_model_fails_the_next_one_answers(gateway: GatewayProcess, fake: FakeUpstream, failure: str) -> None:
    """The caller sees an answer; the ledger sees both attempts, and pays for one."""
    script, words = FAILURES[failure]
    fake.plan("first", script)
    reply = ask(gateway)
    assert (reply.status, reply.json["model"]) == (200, "second")
    assert (reply.headers["x-conduit-model"], reply.headers["x-conduit-attempts"]) == ("second", "2")
    kept = outcome(gateway, reply.headers["x-conduit-decision"])
    assert (kept["status"], kept["model"]) == ("answered", "second")
    assert tried(kept) == [("first", words), ("second", None)]
    assert kept["cost_usd"] == pytest.approx(3 * 2.0 / 1e6)


@pytest.mark.parametrize("failure", STREAM_FAILURES)
def test_a_stream_falls_back_before_its_first_byte(gateway: GatewayProcess, fake: FakeUpstream, failure: str) -> None:
    """And the caller sees one whole stream of the next model."""
    script, words = STREAM_FAILURES[failure]
    fake.plan("first", script)
    reply = ask(gateway, stream=True)
    assert reply.headers["x-conduit-model"] == "second"
    assert b'"error"' not in reply.body
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert tried(outcome(gateway, reply.headers["x-conduit-decision"])) == [("first", words), ("second", None)]


def test_a_server_that_is_not_there_is_a_failed_attempt(gateway: GatewayProcess) -> None:
    """In the same words each time, without its address."""
    assert tried(problem(ask(gateway, "nobody"), 502, "upstream_error")) == [("nobody", "connection refused")]


# ------------------------------------------------------------------ nobody answers


def test_when_all_fail_the_caller_sees_every_attempt(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """502, and as many attempts as are allowed."""
    fake.plan("*", refuses(500, b"secret words of the provider"))
    before, reply = last_decision(gateway), ask(gateway)
    body = problem(reply, 502, "upstream_error")
    assert tried(body) == [(model, "http 500") for model in ("first", "second", "third")]
    assert b"secret words" not in reply.body
    kept = outcome(gateway, last_decision(gateway, after=before))
    assert (kept["status"], len(kept["attempts"]), kept["cost_usd"]) == ("failed", 3, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_when_all_are_silent_it_is_a_timeout(gateway: GatewayProcess, fake: FakeUpstream, stream: bool) -> None:
    """504, and the connections to the silent ones are closed."""
    fake.plan("*", hangs())
    assert [why for _, why in tried(problem(ask(gateway, stream=stream), 504, "upstream_timeout"))] == ["timed out"] * 3
    fake.wait_until_gone(3)


def test_a_named_model_does_not_fall_back(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """Whoever names a model wants it and no other."""
    fake.plan("second", refuses(500))
    assert len(problem(ask(gateway, "second"), 502, "upstream_error")["attempts"]) == 1
    assert {request.json["model"] for request in fake.requests} == {"second"}


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("stream", [False, True])
def test_what_every_provider_refuses_passes_through(
    gateway: GatewayProcess, fake: FakeUpstream, status: int, stream: bool
) -> None:
    """The first one's status and body, as they are: it tells the caller what is wrong with the request."""
    said = b'{"error":{"message":"temperature is too hot","code":"weird","extra":[1]}}'
    fake.plan("first", refuses(status, said))
    fake.plan("*", refuses(400))
    for model in ("auto", "first"):
        before, reply = last_decision(gateway), ask(gateway, model, stream=stream)
        assert (reply.status, reply.body) == (status, said)
        assert outcome(gateway, last_decision(gateway, after=before))["status"] == "failed"


def test_what_one_provider_refuses_another_may_take(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """A parameter that only one of them does not know; and the model that refused is not thought worse of. After three
    times it is not asked such things any more."""
    fake.plan("first", refuses(400))
    for _ in range(3):
        kept = outcome(gateway, ask(gateway).headers["x-conduit-decision"])
        assert tried(kept) == [("first", "http 400"), ("second", None)]
        assert kept["attempts"][0]["counts"] is False
    assert tried(outcome(gateway, ask(gateway).headers["x-conduit-decision"])) == [("second", None)]


# ------------------------------------------------------------------ in mid-answer


@pytest.mark.parametrize(
    "script",
    [
        streams(BEGUN, ending="cut"),
        streams(BEGUN, ending="stall"),
        streams(BEGUN),
        streams(BEGUN, b"data: {oops\n\n"),
        streams(BEGUN, b'data: {"error":{"message":"out of memory"}}\n\n'),
    ],
    ids=["cut", "stall", "end without a finish", "garbage", "error"],
)
def test_a_stream_that_breaks_says_so(gateway: GatewayProcess, fake: FakeUpstream, script: Script) -> None:
    """What was said, an error, [DONE]; no finish_reason is made up, and nobody begins anew in mid-answer."""
    fake.plan("first", script)
    reply = ask(gateway, stream=True)
    frames = [frame for frame in reply.body.split(b"\n\n") if frame]
    assert frames[0] == BEGUN.strip()
    assert b'"code":"upstream_error"' in frames[-2]
    assert frames[-1] == b"data: [DONE]"
    assert b'finish_reason":"' not in reply.body
    kept = outcome(gateway, reply.headers["x-conduit-decision"])
    assert (kept["status"], kept["response_id"]) == ("failed", "chatcmpl-broken")
    assert [a["model"] for a in kept["attempts"]] == ["first"]
    assert kept["attempts"][0]["error"]


def test_the_official_client_sees_a_broken_stream_as_an_error(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """And not as an answer that ended."""
    fake.plan("first", streams(BEGUN, ending="cut"))
    with OpenAI(base_url=gateway.base_url, api_key="sk", max_retries=0) as client:
        stream = client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        with pytest.raises(APIError, match="stopped in mid-answer"):
            list(stream)


@pytest.mark.parametrize(("word", "interval_s"), [("Once", 0.0), ("Once", 0.02), ("Once" * 50_000, 0.0)])
def test_a_client_that_leaves_in_mid_answer_is_on_record(
    gateway: GatewayProcess, fake: FakeUpstream, word: str, interval_s: float
) -> None:
    """The outcome is `cancelled`, and the provider is not kept talking to nobody, nor held up by a slow reader."""
    frames = [chunk({"content": word}, more={"id": "chatcmpl-left", "model": "first"})] * 50
    fake.plan("first", streams(*frames, interval_s=interval_s, ending="stall"))
    with OpenAI(base_url=gateway.base_url, api_key="sk", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO, stream=True)
        stream = raw.parse()
        assert next(iter(stream)).choices[0].delta.content == word
        stream.close()
    kept = outcome(gateway, raw.headers["x-conduit-decision"])
    assert kept["status"] == "cancelled"
    assert kept["output_tokens"] > 0
    fake.wait_until_gone()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_answer_is_on_record(
    gateway: GatewayProcess, fake: FakeUpstream, stream: bool
) -> None:
    """An outcome is there whether or not anybody still listened, and nothing that was begun is left open."""
    fake.plan("first", hangs())
    fake.plan("second", streams(BEGUN, ending="stall") if stream else says())
    body, before = {"model": "auto", "stream": stream, "messages": HELLO}, last_decision(gateway)
    leave_after_sending(gateway, body, until_asked=lambda: fake.wait_for_requests(1))
    assert outcome(gateway, last_decision(gateway, after=before))["status"] in {"cancelled", "answered"}
    fake.wait_until_gone(2 if stream and len(fake.requests) == 2 else 1)


def leave_after_sending(gateway: GatewayProcess, body: dict[str, Any], *, until_asked: Callable[[], None]) -> None:
    raw = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(head.encode() + raw)
        until_asked()
