"""Every endpoint that asks a model, through the official OpenAI client and over plain HTTP."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from tests.support.gateway import FAKE_KEY, GatewayProcess, declared, problem
from tests.support.scripts import embeds, refuses, says
from tests.support.upstream import ANY_MODEL, FakeUpstream

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
PRICES = {"cheap": 1.0, "dear": 10_000.0}
"""Far apart, so that a limit lies between them whatever length of answers was learned so far."""
TOKENS = 3
"""Of each answer of the fake upstream."""


@pytest.fixture(scope="module")
def gateway(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(fake_server.base_url, PRICES)
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key="sk-any", max_retries=0) as client:
        yield client


# ------------------------------------------------------------------ chat


def test_auto_chooses_a_model_and_its_answer_comes_back_as_it_was_given(client: OpenAI, fake: FakeUpstream) -> None:
    """The bytes of the body are the provider's own."""
    fake.plan(ANY_MODEL, says("Salut.", extra={"provider_extra": {"x": [1, None]}}))
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Salut."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, TOKENS)
    assert answer.model_extra == {"provider_extra": {"x": [1, None]}}
    assert answer.model == raw.headers["x-conduit-model"]


@pytest.mark.parametrize("name", PRICES)
def test_a_named_model_is_asked_and_no_other(
    client: OpenAI, gateway: GatewayProcess, fake: FakeUpstream, name: str
) -> None:
    """Nothing was chosen, and the ledger says so."""
    raw = client.chat.completions.with_raw_response.create(model=name, messages=HELLO)
    assert [request.json["model"] for request in fake.requests] == [name]
    assert raw.headers["x-conduit-model"] == name
    decision = gateway.get(f"/v1/decisions/{raw.headers['x-conduit-decision']}").json
    assert decision["routed"] is False
    assert decision["outcome"]["model"] == name


@pytest.mark.parametrize("name", ["auto", "dear"])
def test_a_stream_comes_frame_by_frame_and_ends_properly(client: OpenAI, fake: FakeUpstream, name: str) -> None:
    """The words, one finish_reason, and no usage that was not asked for."""
    chunks = list(client.chat.completions.create(model=name, messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello there."
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert all(c.usage is None for c in chunks)


def test_a_stream_tells_usage_to_whom_asked_for_it(client: OpenAI, fake: FakeUpstream) -> None:
    """In one last chunk without choices, as OpenAI does."""
    asked: Any = {"include_usage": True}
    *_, last = client.chat.completions.create(model="auto", messages=HELLO, stream=True, stream_options=asked)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == TOKENS


async def test_the_asynchronous_client_works_too(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """Whole and streamed."""
    async with AsyncOpenAI(base_url=gateway.base_url, api_key="sk-any", max_retries=0) as client:
        answer = await client.chat.completions.create(model="auto", messages=HELLO)
        assert answer.choices[0].message.content == "Hello there."
        stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(said) == "Hello there."


def test_every_field_but_ours_reaches_the_provider_untouched(client: OpenAI, fake: FakeUpstream) -> None:
    """Known to OpenAI or to nobody; only `model` is the provider's name, and `conduit` stays here."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages: list[Any] = [
        {"role": "system", "content": "Be brief.", "name": "boss"},
        {"role": "user", "content": [{"type": "text", "text": "what ☂ is \u0000 this"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": "c", "content": "4"},
    ]
    unknown = {"top_k": 5, "deep": {"a": [1, None, {"b": 1.5}], "": False}, "big": 2**60, "nothing": None}
    known: dict[str, Any] = {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "response_format": {"type": "json_object"}, "logprobs": True, "seed": 7, "user": "u-1", "n": 1,
        "max_tokens": 12, "temperature": 0.25, "stop": ["\n"],
    }  # fmt: skip
    ours = {"conduit": {"constraints": {"allow": ["dear"]}, "preferences": "quality"}}
    client.chat.completions.create(model="auto", messages=messages, extra_body=unknown | ours, **known)
    assert fake.requests[0].json == {"model": "dear", "messages": messages, **known, **unknown}


def test_the_provider_gets_its_own_key_and_the_callers_trace(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """The caller's Authorization stays here."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = {"authorization": "Bearer sk-callers-own", "traceparent": trace, "x-request-id": "r-1", "cookie": "a=b"}
    gateway.post("/v1/chat/completions", {"model": "auto", "messages": HELLO}, sent)
    got = fake.requests[0].headers
    assert got["authorization"] == f"Bearer {FAKE_KEY}"
    assert (got["traceparent"], str(UUID(got["x-request-id"]))) == (trace, got["x-request-id"])  # see decision 49
    assert "cookie" not in got


# ------------------------------------------------------------------ headers


def test_headers_say_what_was_decided_and_what_it_cost(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """The same that the ledger says."""
    reply = gateway.post("/v1/chat/completions", {"model": "auto", "messages": HELLO})
    kept = gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}").json
    cost_usd = TOKENS * PRICES[kept["model"]] / 1e6
    assert reply.headers["x-conduit-model"] == kept["outcome"]["model"] == kept["model"]
    assert float(reply.headers["x-conduit-cost-usd"]) == pytest.approx(cost_usd)
    assert kept["outcome"]["cost_usd"] == pytest.approx(cost_usd)
    assert float(reply.headers["x-conduit-propensity"]) == pytest.approx(kept["propensity"], abs=1e-6)
    assert sum(c["probability"] for c in kept["candidates"]) == pytest.approx(1)


def test_a_streams_headers_say_what_was_decided(client: OpenAI, fake: FakeUpstream) -> None:
    """What it will cost is not known yet, and is not said."""
    with client.chat.completions.with_streaming_response.create(model="auto", messages=HELLO, stream=True) as stream:
        assert stream.headers["x-conduit-decision"].startswith("dec_")
        assert stream.headers["x-conduit-model"] in PRICES
        assert 0 < float(stream.headers["x-conduit-propensity"]) <= 1
        assert "x-conduit-cost-usd" not in stream.headers
        assert stream.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("given", ["abc-1_2.Z", "x" * 128])
def test_a_sane_request_id_is_kept(gateway: GatewayProcess, given: str) -> None:
    """On answers and on errors."""
    assert gateway.get("/v1/models", {"x-request-id": given}).headers["x-request-id"] == given
    refused = gateway.post("/v1/complete", {}, {"x-request-id": given})
    assert problem(refused, 422, "invalid_request")["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", "a;b", "caf\xe9"])
def test_any_other_request_id_is_replaced(gateway: GatewayProcess, given: str) -> None:
    """By one of ours, new each time."""
    made = {gateway.get("/v1/models", {"x-request-id": given}).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    assert all(name.startswith("req_") for name in made)


# ------------------------------------------------------------------ complete, route, models


def test_complete_answers_a_prompt(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """With what it cost, how long it took, and why this model."""
    reply = gateway.post("/v1/complete", {"prompt": "What is a lighthouse?", "user_id": "u", "context": {"a": 1}})
    answer, sent = reply.json, fake.requests[0].json
    assert sent == {"model": answer["model"], "messages": [{"role": "user", "content": "What is a lighthouse?"}]}
    assert answer["id"] == reply.headers["x-conduit-decision"]
    assert answer["query_id"] == reply.headers["x-request-id"]
    assert answer["data"] == {"content": "Hello there."}
    metadata = answer["metadata"]
    assert metadata["cost"] == pytest.approx(TOKENS * PRICES[answer["model"]] / 1e6)
    assert metadata["tokens"] == {"input": 7, "output": TOKENS}
    assert metadata["latency"] > 0
    assert 0 < metadata["routing_confidence"] <= 1
    assert metadata["reasoning"]


def test_complete_as_json_asks_the_provider_for_json(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """`result_type` is OpenAI's response_format."""
    assert gateway.post("/v1/complete", {"prompt": "List two.", "result_type": "json"}).status == 200
    assert fake.requests[0].json["response_format"] == {"type": "json_object"}


def test_route_decides_and_asks_nobody(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """Every candidate with its score and probability; the decision is in the ledger, without an outcome."""
    body = {"prompt": "Prove it.", "preferences": {"quality": 1, "cost": 0, "latency": 0}}
    decision = gateway.post("/v1/route", body).json
    assert fake.requests == []
    assert {c["model"] for c in decision["candidates"]} == set(PRICES)
    assert decision["propensity"] == pytest.approx(
        next(c["probability"] for c in decision["candidates"] if c["model"] == decision["model"])
    )
    kept = gateway.get(f"/v1/decisions/{decision['id']}").json
    assert kept == {**decision, "prompt_hash": kept["prompt_hash"], "outcome": None, "feedback": None}


def test_a_constraint_removes_a_model_and_says_so(gateway: GatewayProcess) -> None:
    """One that costs too much, one that is denied."""
    dear = gateway.post("/v1/route", {"prompt": "Hi.", "constraints": {"max_cost": 0.001}}).json
    assert (dear["model"], list(dear["removed"])) == ("cheap", ["dear"])
    assert dear["removed"]["dear"].startswith("max_cost")
    denied = gateway.post("/v1/route", {"prompt": "Hi.", "constraints": {"deny": ["cheap"]}}).json
    assert (denied["model"], list(denied["removed"])) == ("dear", ["cheap"])


def test_models_lists_auto_and_every_model(client: OpenAI, gateway: GatewayProcess) -> None:
    """In OpenAI's shape, and beside it as plain names."""
    assert [(m.id, m.object, m.owned_by) for m in client.models.list()] == [
        ("auto", "model", "conduit"), ("cheap", "model", "fake"), ("dear", "model", "fake"),
    ]  # fmt: skip
    assert all(m.created > 1_700_000_000 for m in client.models.list())
    plain = gateway.get("/v1/models").json
    assert (plain["object"], plain["models"], plain["default_model"]) == ("list", ["auto", *PRICES], "auto")


def test_the_client_understands_our_errors(client: OpenAI, fake: FakeUpstream) -> None:
    """As its own exceptions, with our code."""
    with pytest.raises(NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=HELLO)
    assert (unknown.value.code, unknown.value.param) == ("not_found", "model")
    with pytest.raises(APIStatusError) as wrong:
        client.chat.completions.create(model="auto", messages=[])
    assert (wrong.value.status_code, wrong.value.code, wrong.value.param) == (422, "invalid_request", "messages")
    with pytest.raises(BadRequestError):
        client.post("/complete", cast_to=object, content=b"{")


# ------------------------------------------------------------------ embeddings


@pytest.mark.parametrize(("name", "upstream"), [("cheap", "cheap"), ("fake/embedder", "embedder"), ("other", "other")])
def test_embeddings_come_from_the_model_that_is_named(
    client: OpenAI, fake: FakeUpstream, name: str, upstream: str
) -> None:
    """Of the catalogue, of a provider, or of the only provider that there is."""
    raw = client.embeddings.with_raw_response.create(
        model=name, input=["one", "two"], encoding_format="float", dimensions=8
    )
    assert raw.parse().data[0].embedding
    decision = client.get(f"/decisions/{raw.headers['x-conduit-decision']}", cast_to=dict[str, Any])
    assert (decision["model"], decision["domain"], decision["outcome"]["input_tokens"]) == (name, "embeddings", 2)
    (request,) = fake.requests
    assert request.path.endswith("/embeddings")
    assert request.json["model"] == upstream
    assert request.json["dimensions"] == 8


def test_nobody_chooses_whose_embeddings_they_are(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    for model in ("auto", None, 7):
        body = problem(gateway.post("/v1/embeddings", {"model": model, "input": "x"}), 422, "invalid_request")
        assert body["error"]["param"] == "model"
    assert fake.requests == []


def test_a_name_that_its_provider_does_not_know_is_the_callers_mistake(
    gateway: GatewayProcess, fake: FakeUpstream
) -> None:
    """However often: nobody is left alone for it, as a provider is that fails. For one of the catalogue it is ours."""
    fake.plan("made-up", *[refuses(404)] * 6, embeds())
    for _ in range(6):
        body = problem(gateway.post("/v1/embeddings", {"model": "made-up", "input": "x"}), 404, "not_found")
        assert body["error"]["param"] == "model"
    assert gateway.post("/v1/embeddings", {"model": "made-up", "input": "x"}).status == 200
    fake.plan("cheap", refuses(404))
    problem(gateway.post("/v1/embeddings", {"model": "cheap", "input": "x"}), 502, "upstream_error")


# ------------------------------------------------------------------ what it says of itself


def test_the_openapi_document_is_there_for_everybody(gateway: GatewayProcess) -> None:
    reply = gateway.get("/openapi.json")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["openapi"] == "3.1.0"
    assert "/openapi.json" in reply.json["paths"]


def test_a_sessions_name_in_the_header_is_judged_though_the_field_wins(gateway: GatewayProcess) -> None:
    wrong = {"x-conduit-session": "s" * 201}
    for path in ("/v1/complete", "/v1/route"):
        body = problem(gateway.post(path, {"prompt": "Hello!", "session_id": "s"}, wrong), 422, "invalid_request")
        assert body["error"]["param"] == "x-conduit-session"
