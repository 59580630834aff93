"""Random JSON, near and far from what is right: never an error of ours, and always the envelope."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gateway import GatewayProcess, Reply, problem

CODES = {400: "invalid_request", 404: "not_found", 413: "request_too_large", 422: "invalid_request"}
NEAR = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

TEXT = st.text(max_size=20) | st.sampled_from(["", " ", "\0", "\ud800", "☂", "auto", "user", "json_object", "up"])
NUMBERS = (
    st.integers(-5, 10)
    | st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**400, 1e308, 5e-324, -0.0, 0.5, float("inf"), float("nan")])
    | st.floats()
)
LEAF = st.none() | st.booleans() | NUMBERS | TEXT
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=8
)


def near(right: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, of which each is right, wrong or missing, and now and then one that nobody knows."""
    fields = {name: value | value | JSON for name, value in right.items()}
    whole = st.fixed_dictionaries({}, optional=fields)
    return whole | whole | st.builds(lambda a, b: {**a, **b}, whole, st.dictionaries(TEXT, JSON, max_size=2))


CONSTRAINTS = near(
    {
        "max_cost": NUMBERS,
        "max_latency": NUMBERS,
        "min_quality": st.floats(0, 1),
        "preferred_provider": TEXT,
        "allow": st.lists(st.sampled_from(["sandbox/nano", "sandbox/large", "x"]), max_size=2),
        "deny": st.lists(TEXT, max_size=2),
    }
)
PREFERENCES = st.sampled_from(["balanced", "quality", "cost", "speed", "x"]) | near(
    {"quality": NUMBERS, "cost": NUMBERS, "latency": NUMBERS}
)
OURS = {"constraints": CONSTRAINTS, "preferences": PREFERENCES}
PROMPTS = TEXT | st.just("Write a haiku.")
ROUTE = near({"prompt": PROMPTS, "user_id": TEXT, "context": st.dictionaries(TEXT, JSON, max_size=2), **OURS})
COMPLETE = near({"prompt": PROMPTS, "result_type": st.sampled_from(["text", "json", "xml"]), **OURS})
FEEDBACK = near(
    {
        "response_id": TEXT | st.just("dec_known"),
        "quality_score": st.floats(0, 1) | NUMBERS,
        "user_rating": st.integers(0, 6),
        "thumbs": st.sampled_from(["up", "down", "left"]),
        "task_success": st.booleans(),
        "met_expectations": st.booleans(),
        "comments": TEXT,
    }
)
PART = near({"type": st.sampled_from(["text", "image_url"]), "text": TEXT, "image_url": JSON})
MESSAGE = near(
    {
        "role": st.sampled_from(["user", "system", "tool"]),
        "content": TEXT | st.lists(PART, max_size=2),
        "tool_calls": JSON,
    }
)
SCHEMA = near({"type": st.sampled_from(["object", "array", "string"]), "properties": JSON, "items": JSON, "enum": JSON})
FUNCTION = near({"name": TEXT, "parameters": SCHEMA})
FORMAT = near({"type": st.sampled_from(["json_object", "json_schema"]), "json_schema": near({"schema": SCHEMA})})
CHAT = near(
    {
        "model": st.sampled_from(["auto", "sandbox/nano", "nobody"]),
        "messages": st.lists(MESSAGE | st.just({"role": "user", "content": "hi"}), min_size=1, max_size=3),
        "stream": st.booleans(),
        "stream_options": near({"include_usage": st.booleans()}),
        "max_tokens": NUMBERS,
        "n": st.integers(-1, 3),
        "tools": st.lists(near({"type": st.just("function"), "function": FUNCTION}), max_size=2),
        "tool_choice": JSON | st.just("required"),
        "response_format": FORMAT,
        "user": TEXT,
        "conduit": near(OURS),
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The sandbox reads every field, as a provider does."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), env={"SANDBOX_TIME_SCALE": "0"}) as gateway:
        yield gateway
        assert gateway.get("/health/ready").status == gateway.get("/v1/decisions?limit=200").status == 200
        assert "Traceback" not in gateway.said
        assert "internal error" not in gateway.said


@pytest.fixture(scope="module")
def decision(gateway: GatewayProcess) -> str:
    name: str = gateway.post("/v1/complete", {"prompt": "What is a lighthouse?"}).json["id"]
    return name


def sane(reply: Reply) -> None:
    """An answer, or one of the errors that a caller can make."""
    if reply.status == 200:
        return
    body = reply.json
    code = body["error"]["code"]
    if "request_id" not in body:  # the sandbox's own refusal, passed on as a provider's is
        assert (reply.status, body["error"]["type"]) == (400, "invalid_request_error")
        return
    assert code in {CODES.get(reply.status), "no_eligible_model"}, (reply.status, body)
    problem(reply, reply.status, code)


def send(gateway: GatewayProcess, path: str, body: object) -> None:
    reply = gateway.post(path, body)
    sane(reply)
    if reply.headers["content-type"].startswith("text/event-stream"):
        assert reply.body.endswith(b"data: [DONE]\n\n")
        assert b'"error"' not in reply.body


@NEAR
@given(body=ROUTE | JSON)
def test_route(gateway: GatewayProcess, body: object) -> None:
    """Any JSON."""
    send(gateway, "/v1/route", body)


@NEAR
@given(body=COMPLETE | JSON)
def test_complete(gateway: GatewayProcess, body: object) -> None:
    """Any JSON."""
    send(gateway, "/v1/complete", body)


@NEAR
@given(body=CHAT | JSON)
def test_chat(gateway: GatewayProcess, body: object) -> None:
    """Any JSON."""
    send(gateway, "/v1/chat/completions", body)


@settings(NEAR, max_examples=200)
@given(body=CHAT)
def test_chat_that_is_nearly_right(gateway: GatewayProcess, body: dict[str, Any]) -> None:
    """With a model and a message that are right, so that everything behind them is reached."""
    right = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    send(gateway, "/v1/chat/completions", {**body, **right})


@NEAR
@given(body=FEEDBACK | JSON)
def test_feedback(gateway: GatewayProcess, decision: str, body: object) -> None:
    """Any JSON, about an answer that is there or is not."""
    if isinstance(body, dict) and body.get("response_id") == "dec_known":
        body["response_id"] = decision
    send(gateway, "/v1/feedback", body)


@NEAR
@given(body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()[:-1]))
def test_any_bytes(gateway: GatewayProcess, body: bytes) -> None:
    """And what was cut off."""
    for path in ("/v1/route", "/v1/feedback", "/v1/chat/completions"):
        send(gateway, path, body)
