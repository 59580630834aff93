"""Idempotency-Key over real sockets: one execution and one answer, whichever worker is asked."""

import http.client
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace

import openai
import pytest

from tests.support.gateway import GatewayProcess, Reply, declared, problem, until
from tests.support.scripts import chunk, refuses, says, streams
from tests.support.upstream import ANY_MODEL, FakeUpstream

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = {"model": "cheap", "messages": MESSAGES}
STREAM = CHAT | {"stream": True}
MOST = 4000


@pytest.fixture(scope="module")
def gateway(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    env = {"IDEMPOTENCY_MAX_SIZE": str(MOST), "UPSTREAM_TIMEOUT_S": "2", "UPSTREAM_ATTEMPTS": "1"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env, workers=2) as gateway:
        yield gateway


def send(gateway: GatewayProcess, name: str, body: object, path: str = "/v1/chat/completions") -> Reply:
    return gateway.post(path, body, {"idempotency-key": name})


def same(first: Reply, second: Reply) -> None:
    """The second is the first again: its bytes, and the headers that tell of it."""
    assert (first.status, second.status) == (200, 200)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.body == first.body
    for name in ("content-type", *(each for each in first.headers if each.startswith("x-conduit-"))):
        assert second.headers[name] == first.headers[name]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", STREAM),
        ("/v1/complete", {"prompt": "hi"}),
    ],
)
def test_a_completion_is_done_once_and_answered_as_often_as_asked(
    gateway: GatewayProcess, fake: FakeUpstream, path: str, body: dict[str, object]
) -> None:
    name = f"again-{path}-{'stream' in body}"
    first, *others = [send(gateway, name, body, path) for _ in range(6)]
    for other in others:
        same(first, other)
    assert len(fake.requests) == 1


def test_without_the_header_every_request_is_done(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    replies = [gateway.post("/v1/chat/completions", CHAT) for _ in range(2)]
    assert replies[0].headers["x-conduit-decision"] != replies[1].headers["x-conduit-decision"]
    assert len(fake.requests) == 2


def test_of_many_at_once_one_is_done_and_the_others_have_its_answer_or_a_409(
    gateway: GatewayProcess, fake: FakeUpstream
) -> None:
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: send(gateway, "crowd", CHAT), range(32)))
    for reply in replies:
        if reply.status != 200:
            problem(reply, 409, "idempotency_in_progress")
            assert int(reply.headers["retry-after"]) >= 1
    assert len({reply.body for reply in replies if reply.status == 200}) == 1
    assert len(fake.requests) == 1


def test_openais_own_client_waits_for_the_answer_of_the_first(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    headers = {"Idempotency-Key": "patient"}

    def ask(_: int) -> str:
        with openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=5) as client:
            return client.chat.completions.create(**CHAT, extra_headers=headers).choices[0].message.content

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(4))) == {"Hello there."}
    assert len(fake.requests) == 1


def test_another_request_under_the_same_key_is_a_conflict(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    assert send(gateway, "taken", CHAT).status == 200
    for path, body in (("/v1/chat/completions", CHAT | {"temperature": 0}), ("/v1/complete", {"prompt": "hi"})):
        reply = send(gateway, "taken", body, path)
        assert problem(reply, 409, "idempotency_conflict")["error"]["param"] == "Idempotency-Key"
        assert reply.headers["x-should-retry"] == "false"
    reply = gateway.post("/v1/chat/completions", CHAT, {"idempotency-key": "taken", "x-conduit-session": "another"})
    problem(reply, 409, "idempotency_conflict")
    assert len(fake.requests) == 1


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 256, "caf\u00e9"])
def test_a_key_that_is_none_is_refused_by_name(gateway: GatewayProcess, name: str) -> None:
    body = problem(send(gateway, name, CHAT), 422, "invalid_request")
    assert body["error"]["param"] == "Idempotency-Key"


def test_after_an_error_the_request_is_done_anew(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    fake.plan(ANY_MODEL, refuses(400), says())
    assert send(gateway, "second-try", CHAT).status == 400
    until(lambda: (reply := send(gateway, "second-try", CHAT)).status == 200 and reply)


def test_a_stream_that_broke_off_is_not_kept(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    fake.plan(ANY_MODEL, streams(chunk({"content": "half"}), ending="cut"), says("whole"))
    assert b'"error"' in send(gateway, "broken", STREAM).body
    reply = until(lambda: (reply := send(gateway, "broken", STREAM)).status == 200 and reply)
    assert b"whole" in reply.body
    assert b'"error"' not in reply.body


@contextmanager
def asking(gateway: GatewayProcess, name: str, body: object) -> Iterator[http.client.HTTPConnection]:
    """A caller who has sent all and is waiting; and who leaves at the end."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    headers = {"content-type": "application/json", "idempotency-key": name}
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        yield connection


def test_a_key_is_free_again_when_its_caller_left_in_mid_stream(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    fake.plan(ANY_MODEL, streams(chunk({"content": "begun"}), ending="stall"), says("whole"))
    with asking(gateway, "gone", STREAM) as connection:
        assert b"begun" in connection.getresponse().readline()
        problem(send(gateway, "gone", STREAM), 409, "idempotency_in_progress")
    assert b"whole" in until(lambda: (reply := send(gateway, "gone", STREAM)).status == 200 and reply).body


def test_a_caller_who_gave_up_waiting_finds_the_answer_later(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """The gateway goes on with what is not a stream, and what it did is not done again."""
    fake.plan(ANY_MODEL, lambda received: replace(says()(received), interval_s=0.5))
    with asking(gateway, "impatient", CHAT):
        fake.wait_for_requests(1)
    problem(send(gateway, "impatient", CHAT), 409, "idempotency_in_progress")
    reply = until(lambda: (reply := send(gateway, "impatient", CHAT)).status == 200 and reply)
    assert reply.headers["idempotent-replayed"] == "true"
    assert len(fake.requests) == 1


@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_an_answer_that_is_too_large_is_not_done_twice_either(
    gateway: GatewayProcess, fake: FakeUpstream, body: dict[str, object]
) -> None:
    fake.plan(ANY_MODEL, says("many words " * 1000))
    name = f"large-{'stream' in body}"
    assert len(send(gateway, name, body).body) > MOST
    assert "too large" in problem(send(gateway, name, body), 409, "idempotency_conflict")["error"]["message"]
    assert len(fake.requests) == 1


def test_feedback_is_given_once(gateway: GatewayProcess) -> None:
    decision = gateway.post("/v1/chat/completions", CHAT).headers["x-conduit-decision"]
    said = {"response_id": decision, "quality_score": 0.5}
    first = send(gateway, "judged", said, "/v1/feedback")
    gateway.post("/v1/feedback", said | {"quality_score": 1.0})
    same(first, send(gateway, "judged", said, "/v1/feedback"))
    assert gateway.get(f"/v1/decisions/{decision}").json["feedback"]["quality"] == 1.0


def test_what_was_answered_before_a_kill_is_answered_after_it(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    first = send(gateway, "survives", STREAM)
    gateway.kill9()
    gateway.start()
    same(first, send(gateway, "survives", STREAM))
    assert len(fake.requests) == 1


def test_what_was_asked_is_kept_as_a_hash_only(gateway: GatewayProcess) -> None:
    marked = {"model": "cheap", "messages": [{"role": "user", "content": "marked-zebra-once-5521"}]}
    assert send(gateway, "private", marked).status == 200
    with closing(sqlite3.connect(gateway.folder / "conduit.db")) as connection:
        assert connection.execute("SELECT count(*) FROM answers WHERE name = 'private'").fetchone() == (1,)
        assert "marked-zebra-once-5521" not in "\n".join(connection.iterdump())
    assert "marked-zebra-once-5521" not in gateway.said
