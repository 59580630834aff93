"""Whatever wrong is sent, by a caller or a provider: a clear error in the envelope that names the field."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway import GatewayProcess, Reply, problem
from tests.support.scripts import Reply as Said
from tests.support.scripts import replies, says
from tests.support.upstream import ANY_MODEL, FakeUpstream

CHAT, COMPLETE, ROUTE, FEEDBACK = "/v1/chat/completions", "/v1/complete", "/v1/route", "/v1/feedback"
POSTS = (CHAT, COMPLETE, ROUTE, FEEDBACK)
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def gateway(survivor: GatewayProcess, fake: FakeUpstream) -> GatewayProcess:
    return survivor


def told(reply: Reply, status: int = 422, param: str | None = None) -> None:
    """An invalid request, and which field is wrong."""
    assert problem(reply, status, "invalid_request")["error"]["param"] == param


# ------------------------------------------------------------------ no JSON


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"}", b'{"prompt": "a"', b"null", b"[]", b'"text"', b"7", b"true", b"{'prompt': 'a'}", b"\x00",
        b"\xef\xbb\xbf{}", b'{"prompt": "\xff\xfe"}', b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "\\ud800"}',
        b'{"prompt": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": 01}', b'{"a": 1,}', b'{"a": "\n"}',
        b"[" * 100_000, b'{"a":' * 5000, b"\x1f\x8b\x08\x00", b"prompt=hello",
        b"--x\r\ncontent-disposition: form-data\r\n\r\nhi\r\n--x--",
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_400(gateway: GatewayProcess, path: str, body: bytes) -> None:
    """Broken, of another kind, not UTF-8, half an emoji, not a number, too deep: the message says where."""
    if path != CHAT and len(body) > 10_000:
        problem(gateway.post(path, body), 413, "request_too_large")
    else:
        told(gateway.post(path, body), 400)


# ------------------------------------------------------------------ wrong values

ROUTE_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": " \t\n\u2003\u00a0"}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": ["a"]}, "prompt"),
    ({"prompt": "a", "promt": "b"}, "promt"),
    ({"prompt": "a", "user_id": 5}, "user_id"),
    ({"prompt": "a", "user_id": "u" * 201}, "user_id"),
    ({"prompt": "a", "context": []}, "context"),
    ({"prompt": "a", "constraints": []}, "constraints"),
    ({"prompt": "a", "constraints": {"max_costs": 1}}, "constraints.max_costs"),
    ({"prompt": "a", "constraints": {"max_cost": -1}}, "constraints.max_cost"),
    ({"prompt": "a", "constraints": {"max_cost": 0}}, "constraints.max_cost"),
    ({"prompt": "a", "constraints": {"max_cost": "1"}}, "constraints.max_cost"),
    ({"prompt": "a", "constraints": {"max_cost": True}}, "constraints.max_cost"),
    ({"prompt": "a", "constraints": {"max_latency": -0.5}}, "constraints.max_latency"),
    ({"prompt": "a", "constraints": {"min_quality": 1.01}}, "constraints.min_quality"),
    ({"prompt": "a", "constraints": {"allow": "cheap"}}, "constraints.allow"),
    ({"prompt": "a", "constraints": {"allow": [1]}}, "constraints.allow.0"),
    ({"prompt": "a", "constraints": {"deny": ["a"] * 201}}, "constraints.deny"),
    ({"prompt": "a", "preferences": {"quality": -1}}, "preferences"),
    ({"prompt": "a", "preferences": {"quality": 0, "cost": 0, "latency": 0}}, "preferences"),
    ({"prompt": "a", "preferences": "best"}, "preferences"),
]  # fmt: skip


@pytest.mark.parametrize("path", [COMPLETE, ROUTE])
@pytest.mark.parametrize(("body", "param"), ROUTE_MISTAKES)
def test_a_wrong_field_is_named(gateway: GatewayProcess, path: str, body: dict[str, Any], param: str) -> None:
    """The first that is wrong, by its path; of a union, by the path of the union or into one of its cases."""
    error = problem(gateway.post(path, body), 422, "invalid_request")["error"]
    assert error["param"] == param or error["param"].startswith(f"{param}.")
    assert error["message"].startswith(error["param"])


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"quality_score": 1}, "response_id"),
        ({"response_id": "", "quality_score": 1}, "response_id"),
        ({"response_id": "x" * 201, "quality_score": 1}, "response_id"),
        ({"response_id": 5, "quality_score": 1}, "response_id"),
        ({"response_id": "x", "quality_score": 1.01}, "quality_score"),
        ({"response_id": "x", "quality_score": -0.01}, "quality_score"),
        ({"response_id": "x", "quality_score": "1"}, "quality_score"),
        ({"response_id": "x", "quality_score": True}, "quality_score"),
        ({"response_id": "x", "user_rating": 6}, "user_rating"),
        ({"response_id": "x", "user_rating": 4.5}, "user_rating"),
        ({"response_id": "x", "user_rating": 2**80}, "user_rating"),
        ({"response_id": "x", "thumbs": "sideways"}, "thumbs"),
        ({"response_id": "x", "task_success": "yes"}, "task_success"),
        ({"response_id": "x", "comments": "c" * 5001, "thumbs": "up"}, "comments"),
        ({"response_id": "x", "score": 1}, "score"),
    ],
)  # fmt: skip
def test_wrong_feedback_is_named(gateway: GatewayProcess, said: dict[str, Any], param: str) -> None:
    """Before anybody looks for the answer."""
    told(gateway.post(FEEDBACK, said), 422, param)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages.0.role"),
        ({"messages": [{"content": "hello"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [*HELLO, {"role": 1}]}, "messages.1.role"),
        ({"stream": "yes"}, "stream"),
        ({"conduit": 5}, "conduit"),
        ({"conduit": {"budget": 1}}, "conduit.budget"),
        ({"conduit": {"constraints": {"max_cost": -1}}}, "conduit.constraints.max_cost"),
    ],
)  # fmt: skip
def test_a_wrong_chat_request_is_named(
    gateway: GatewayProcess, fake: FakeUpstream, change: dict[str, Any], param: str
) -> None:
    """Of what we need of it; and no provider is asked."""
    told(gateway.post(CHAT, {"model": "auto", "messages": HELLO} | change), 422, param)
    assert fake.requests == []


@pytest.mark.parametrize("path", [COMPLETE, ROUTE, CHAT])
def test_constraints_that_nobody_meets_say_whom_each_removed(gateway: GatewayProcess, path: str) -> None:
    """422, with a reason for every model."""
    limits: dict[str, Any] = {"constraints": {"max_cost": 1e-300}}
    body = {"model": "auto", "messages": HELLO, "conduit": limits} if path == CHAT else {"prompt": "a", **limits}
    removed = problem(gateway.post(path, body), 422, "no_eligible_model")["removed"]
    assert set(removed) == {"cheap", "dear"}
    assert all(reason.startswith("max_cost") for reason in removed.values())


@pytest.mark.parametrize("name", ["gpt-9", "", "AUTO", "auto ", "a" * 100_000, "\u0000", "../../etc/passwd", "☂"])
def test_an_unknown_model_is_404(gateway: GatewayProcess, fake: FakeUpstream, name: str) -> None:
    """And no other is asked in its place."""
    reply = gateway.post(CHAT, {"model": name, "messages": HELLO})
    assert problem(reply, 404, "not_found")["error"]["param"] == "model"
    assert len(reply.body) < 2000
    assert fake.requests == []


# ------------------------------------------------------------------ a provider that lies

LIES: dict[str, Callable[[], bytes]] = {
    "no object": lambda: b"[]",
    "not UTF-8": lambda: b'{"choices":[{"message":{"content":"\xff"}}]}',
    "deep": lambda: b'{"a":' * 100_000,
    "choices of nothing": lambda: b'{"choices":[null]}',
    "a number for a message": lambda: b'{"choices":[{"message":4}]}',
}
ODD: dict[str, dict[str, Any]] = {
    "usage of text": {"usage": "many"},
    "negative usage": {"usage": {"prompt_tokens": -5, "completion_tokens": -9}},
    "absurd usage": {"usage": {"prompt_tokens": 2**70, "completion_tokens": 1e300}},
    "an id of nothing": {"id": None},
    "an endless id": {"id": "i" * 100_000},
    "an id with a null": {"id": "a\u0000b\ud800"},
    "a message of a number": {"choices": [{"message": {"content": 5}}]},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_provider_that_answers_garbage_has_failed(gateway: GatewayProcess, fake: FakeUpstream, lie: str) -> None:
    """502 when both do, and not one word of it reaches the caller."""
    fake.plan(ANY_MODEL, replies(Said([LIES[lie]()])))
    for path, body in ((CHAT, {"model": "auto", "messages": HELLO}), (COMPLETE, {"prompt": "hi"})):
        attempts = problem(gateway.post(path, body), 502, "upstream_error")["attempts"]
        assert {a["error"] for a in attempts} == {"garbage"}
        assert gateway.post(CHAT, {"model": "cheap", "messages": HELLO}).status == 502
    fake.plan(ANY_MODEL, says())
    for model in ("cheap", "dear"):
        assert gateway.post(CHAT, {"model": model, "messages": HELLO}).status == 200


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("path", [CHAT, COMPLETE])
def test_an_odd_answer_is_passed_on_and_recorded_sanely(
    gateway: GatewayProcess, fake: FakeUpstream, path: str, odd: str
) -> None:
    """What cannot be believed is estimated, and no absurd bill is written."""
    said = {"id": "x", "choices": [{"message": {"role": "assistant", "content": "hi"}}], **ODD[odd]}
    fake.plan(ANY_MODEL, replies(Said([json.dumps(said).encode()])))
    reply = gateway.post(path, {"prompt": "hi"} if path == COMPLETE else {"model": "cheap", "messages": HELLO})
    assert reply.status == 200, reply.body[:300]
    kept = gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}").json["outcome"]
    assert kept["status"] == "answered"
    assert 0 <= kept["output_tokens"] < 100
    assert 0 <= kept["cost_usd"] < 0.01
