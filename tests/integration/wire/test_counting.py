"""What is counted of a request and of its answer, whatever the provider says, and however it says it."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.gateway import GatewayProcess, Reply, problem, until
from tests.support.raw_client import RawClient
from tests.support.stub_provider import DONE, Asked, Behaviour, StubProvider, completion, delta, event

TOKENS = 4000
"""Of every answer that is told without a count."""
TEXT = "abcd" * TOKENS
LAST = "LAST"


class Told(NamedTuple):
    """Usage as a provider tells it, and what is right."""

    usage: Mapping[str, object]
    tokens: tuple[int, int]
    usd: float
    beside: Mapping[str, object] = {}


PLAIN = {"prompt_tokens": 1000, "completion_tokens": 10}
TOLD = {
    "02 reasoning outside completion_tokens": Told(
        {**PLAIN, "total_tokens": 1500, "completion_tokens_details": {"reasoning_tokens": 490}}, (1000, 500), 0.006
    ),
    "02 reasoning outside, total unsaid": Told(
        {**PLAIN, "completion_tokens_details": {"reasoning_tokens": 490}}, (1000, 500), 0.006
    ),
    "02 completion unsaid": Told({"prompt_tokens": 1000, "total_tokens": 1500}, (1000, 500), 0.006),
    "04 cached tokens as DeepSeek tells them": Told(
        {**PLAIN, "prompt_cache_hit_tokens": 600, "prompt_cache_miss_tokens": 400}, (1000, 10), 0.00056
    ),
    "04 cached tokens as Moonshot tells them": Told({**PLAIN, "cached_tokens": 600}, (1000, 10), 0.00056),
    "04 cached tokens as LiteLLM tells Anthropic's": Told(
        {**PLAIN, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 0}, (1000, 10), 0.00056
    ),
    "04 cached tokens as Anthropic tells them": Told(
        {"input_tokens": 400, "output_tokens": 10, "cache_read_input_tokens": 600}, (1000, 10), 0.00056
    ),
    "04 dollars as OpenRouter tells them": Told({**PLAIN, "cost": 0.0042}, (1000, 10), 0.0042),
    "04 counts as floats": Told(
        {"prompt_tokens": 1000.0, "completion_tokens": 10.0, "cached_tokens": 600.0}, (1000, 10), 0.00056
    ),
    "04 counts as strings": Told({"prompt_tokens": "1000", "completion_tokens": "10"}, (1000, 10), 0.0011),
    "37 nothing for an answer with text": Told({"prompt_tokens": 0, "completion_tokens": 0}, (1, TOKENS + 1), 0.040011),
    "37 a billion out": Told({"prompt_tokens": 5, "completion_tokens": 10**9}, (5, TOKENS + 1), 0.040015),
    "37 a billion in": Told({"prompt_tokens": 10**9, "completion_tokens": 4000}, (1, 4000), 0.040001),
    "37 a hundred million reasoned in silence": Told(
        {"prompt_tokens": 5, "completion_tokens": 4000, "total_tokens": 10**8}, (5, TOKENS + 1), 0.040015
    ),
}
GENERATED: dict[str, Mapping[str, object]] = {
    "01 reasoning_content": {"reasoning_content": TEXT},
    "01 reasoning": {"reasoning": TEXT},
    "01 thinking": {"thinking": TEXT},
    "01 thinking blocks": {"thinking_blocks": [{"type": "thinking", "thinking": TEXT, "signature": "Eq" * 9000}]},
    "01 refusal": {"refusal": TEXT},
    "01 arguments of a tool": {"tool_calls": [{"index": 0, "function": {"arguments": TEXT}}]},
    "01 arguments of a function": {"function_call": {"arguments": TEXT}},
    "01 what is spoken": {"audio": {"id": "a", "data": "AAAA" * 9000, "transcript": TEXT}},
    "01 a field unheard of": {"pondering": TEXT},
    "01 the same in two fields": {"reasoning": TEXT, "reasoning_content": TEXT},
}


def tells(told: Told) -> Behaviour:
    async def behave(asked: Asked) -> None:
        answer = json.loads(completion("x" if told.tokens[1] < TOKENS else TEXT, usage=told.usage))
        await asked.answer(json.dumps({**answer, **told.beside}).encode())

    return behave


def generates(fields: Mapping[str, object], *, goes_on: bool) -> Behaviour:
    """In a stream that tells no usage."""

    async def behave(asked: Asked) -> None:
        await asked.begin_stream()
        for piece in (delta(role="assistant", content=""), delta(**fields), delta(content=LAST)):
            await asked.piece(piece)
        if goes_on:
            await asked.until_left()
        await asked.piece(delta("stop"))
        await asked.piece(DONE)
        await asked.end_stream()

    return behave


async def as_litellm(asked: Asked) -> None:
    await asked.begin_stream()
    choice = {"index": 0, "delta": {}, "finish_reason": None}
    usage = {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}
    for piece in (delta(role="assistant", content="Hello."), delta("stop")):
        await asked.piece(piece)
    await asked.piece(event({"id": "chatcmpl-stub", "choices": [choice], "usage": usage}))
    await asked.piece(DONE)
    await asked.end_stream()


def embeds(usage: Mapping[str, object]) -> Behaviour:
    async def behave(asked: Asked) -> None:
        vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}]
        await asked.answer(json.dumps({"object": "list", "data": vectors, "usage": usage}).encode())

    return behave


EMBEDDED = {
    "04 a string": ({"prompt_tokens": "1000", "total_tokens": 1000.0}, 1000),
    "04 as the Responses API names it": ({"input_tokens": 1000.0}, 1000),
    "37 a billion": ({"prompt_tokens": 10**9}, None),
    "37 nothing": ({"prompt_tokens": 0}, None),
}
BEHAVIOURS: dict[str, Behaviour] = {
    **{f"told-{i}": tells(told) for i, told in enumerate(TOLD.values())},
    **{f"whole-{i}": generates(fields, goes_on=False) for i, fields in enumerate(GENERATED.values())},
    **{f"left-{i}": generates(fields, goes_on=True) for i, fields in enumerate(GENERATED.values())},
    **{f"embed-{i}": embeds(usage) for i, (usage, _) in enumerate(EMBEDDED.values())},
    "tier": tells(Told(PLAIN, (1000, 10), 0.0, {"service_tier": "flex"})),
    "litellm": as_litellm,
}
KINDS = {
    "small": "context_window = 8000",
    "tiny": "context_window = 500",
    "large": "context_window = 1000000",
    "blind": 'abilities = ["json"]',
}
KINDS["wise"] = ""
"""Abilities unknown: nothing is refused."""


def table(name: str, more: str = "", *, provider: str = "fake") -> str:
    prices = "input_usd_per_mtok = 1\noutput_usd_per_mtok = 10\ncached_usd_per_mtok = 0.1\n"
    return f'[[models]]\nname = "{name}"\nprovider = "{provider}"\n{prices}{more}\n'


@pytest.fixture(scope="module")
def provider() -> Iterator[StubProvider]:
    with StubProvider(BEHAVIOURS) as stub:
        yield stub


@pytest.fixture(scope="module")
def gateway(provider: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    models = "".join(table(name) for name in BEHAVIOURS) + "".join(table(name, more) for name, more in KINDS.items())
    server = f'[providers.fake]\nbase_url = "{provider.base_url}"\napi_key_env = "FAKE_KEY"\n'
    # The list of what genai-prices knows of a tier, under an address that is not OpenAI's own.
    seller = f'[providers.seller]\nbase_url = "{provider.base_url}"\nprices = "openai"\n'
    priced = '[[models]]\nname = "tiered"\nprovider = "seller"\nupstream = "gpt-5-mini"\n'
    provider.behaviours["gpt-5-mini"] = BEHAVIOURS["tier"]
    folder: Path = tmp_path_factory.mktemp("counting")
    with GatewayProcess(folder, config=server + seller + models + priced) as running:
        yield running


def chat(gateway: GatewayProcess, model: str = "auto", **more: Any) -> Reply:
    return gateway.post("/v1/chat/completions", {"model": model, "messages": [HI], **more})


def among(*models: str, **constraints: object) -> dict[str, Any]:
    return {"constraints": {"allow": list(models), **constraints}}


def record(gateway: GatewayProcess, reply: Reply) -> dict[str, Any]:
    return of(gateway, reply.headers["x-conduit-decision"])


def of(gateway: GatewayProcess, decision: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        body: dict[str, Any] = gateway.get(f"/v1/decisions/{decision}").json
        return body if body.get("outcome") else None

    return until(found)


HI = {"role": "user", "content": "hi"}

# ------------------------------------------------------------------ what comes out


@pytest.mark.parametrize(("nth", "told"), list(enumerate(TOLD.values())), ids=TOLD)
def test_usage_is_read_as_it_is_meant(gateway: GatewayProcess, nth: int, told: Told) -> None:
    reply = chat(gateway, f"told-{nth}")
    outcome = record(gateway, reply)["outcome"]
    assert (outcome["input_tokens"], outcome["output_tokens"]) == told.tokens
    assert float(reply.headers["x-conduit-cost-usd"]) == pytest.approx(told.usd, abs=2e-8)


def test_04_a_tier_that_costs_less_is_booked_at_less(gateway: GatewayProcess) -> None:
    """GPT-5 mini at half of .25 and 2 USD a million."""
    reply = chat(gateway, "tiered", service_tier="flex")
    assert float(reply.headers["x-conduit-cost-usd"]) == pytest.approx((1000 * 0.25 + 10 * 2) / 2e6, abs=2e-8)


def test_37_what_is_not_believed_is_warned_of(gateway: GatewayProcess) -> None:
    nth = list(TOLD).index("37 a billion out")
    reply = chat(gateway, f"told-{nth}")
    assert record(gateway, reply)["outcome"]["measured"] is False
    until(lambda: 'conduit_degraded_total{what="usage"}' in gateway.get("/metrics").body.decode())
    until(lambda: f"told-{nth} says that it used 1000000000 tokens out" in gateway.said)


@pytest.mark.parametrize(("nth", "row"), list(enumerate(EMBEDDED.values())), ids=EMBEDDED)
def test_embeddings_are_counted_alike(
    gateway: GatewayProcess, nth: int, row: tuple[Mapping[str, object], int | None]
) -> None:
    reply = gateway.post("/v1/embeddings", {"model": f"embed-{nth}", "input": "abcd" * 20})
    outcome, (_, tokens) = record(gateway, reply)["outcome"], row
    assert outcome["measured"] is (tokens is not None)
    assert outcome["input_tokens"] == (tokens or pytest.approx(30, abs=8))


@pytest.mark.parametrize("nth", range(len(GENERATED)), ids=GENERATED)
def test_everything_counts_in_a_stream_without_usage(gateway: GatewayProcess, nth: int) -> None:
    reply = chat(gateway, f"whole-{nth}", stream=True)
    outcome = record(gateway, reply)["outcome"]
    assert outcome["output_tokens"] == pytest.approx(TOKENS, abs=5)
    assert (outcome["status"], outcome["measured"]) == ("answered", False)


@pytest.mark.parametrize("nth", range(len(GENERATED)), ids=[f"{name}, left early" for name in GENERATED])
def test_everything_counts_in_a_stream_that_is_left(gateway: GatewayProcess, nth: int) -> None:
    with RawClient(gateway.port) as client:
        client.post("/v1/chat/completions", {"model": f"left-{nth}", "messages": [HI], "stream": True})
        seen = client.until(LAST.encode())
        client.leave()
    decision = seen.partition(b"x-conduit-decision: ")[2].partition(b"\r\n")[0].decode()
    outcome = of(gateway, decision)["outcome"]
    assert outcome["output_tokens"] == pytest.approx(TOKENS, abs=5)
    assert outcome["status"] == "cancelled"


def test_04_a_usage_chunk_with_an_empty_choice_is_for_us(gateway: GatewayProcess) -> None:
    reply = chat(gateway, "litellm", stream=True)
    assert b"Hello." in reply.body
    assert b"usage" not in reply.body
    outcome = record(gateway, reply)["outcome"]
    assert (outcome["input_tokens"], outcome["output_tokens"], outcome["measured"]) == (70, 30, True)


def test_04_control_a_usage_chunk_that_was_asked_for_is_the_callers(gateway: GatewayProcess) -> None:
    assert b"usage" in chat(gateway, "litellm", stream=True, stream_options={"include_usage": True}).body


# ------------------------------------------------------------------ what goes in


def a_tool(size: int) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "description": "word " * (size // 5), "parameters": {}}}


def user(*parts: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def kept(**fields: object) -> dict[str, Any]:
    return {"messages": [HI, {"role": "assistant", "content": None, **fields}, HI]}


def base64_of(size: int) -> str:
    return base64.b64encode(b"\xff\xd8" * (size // 2)).decode()


SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": "word " * 12_000}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "abcd" * 10_000}}
IN: dict[str, tuple[dict[str, Any], int, int]] = {
    "03 control: plain English": (says("abcd" * 1000), 1001, 1001),
    "03 tools": ({"tools": [a_tool(77_000)]}, 15_000, 25_000),
    "03 functions": ({"functions": [a_tool(77_000)["function"]]}, 15_000, 25_000),
    "03 a schema": ({"response_format": SCHEMA}, 12_000, 20_000),
    "03 calls of tools": (kept(tool_calls=[CALL]), 8_000, 14_000),
    "03 a call of a function": (kept(function_call=CALL["function"]), 8_000, 14_000),
    "03 reasoning that is sent back": (kept(reasoning_content="abcd" * 10_000), 8_000, 14_000),
    "03 Chinese": (says("中文" * 10_000), 14_000, 26_000),
    "03 Japanese": (says("かな漢字" * 5_000), 14_000, 26_000),
    "03 Korean": (says("한국어다" * 5_000), 10_000, 26_000),
    "03 Cyrillic": (says("привет мир " * 2_000), 6_000, 13_000),
    "03 emoji": (says("🙂" * 5_000), 5_000, 15_000),
    "03 Chinese in parts": (user({"type": "text", "text": "中文" * 10_000}), 14_000, 26_000),
    "03 an image of 3 MB": (
        user({"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + base64_of(3_000_000)}}), 700, 4_000,
    ),
    "03 ten images by address": (
        user(*[{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}] * 10), 7_000, 40_000,
    ),
    "03 a small image": (user({"type": "image_url", "image_url": {"url": "https://e.org/a", "detail": "low"}}), 80, 90),
    "03 a PDF of 1 MB": (
        user({"type": "file", "file": {"file_data": "data:application/pdf;base64," + base64_of(1_000_000)}}),
        5_000, 150_000,
    ),
    "03 a minute of sound": (
        user({"type": "input_audio", "input_audio": {"format": "mp3", "data": base64_of(480_000)}}), 500, 4_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "least", "most"), list(IN.values()), ids=IN)
def test_all_that_is_sent_is_estimated(gateway: GatewayProcess, body: dict[str, Any], least: int, most: int) -> None:
    reply = chat(gateway, **body, conduit=among("small", "large"))
    assert reply.status == 200
    assert least <= record(gateway, reply)["input_tokens"] <= most
    if least > 8_000:
        assert reply.headers["x-conduit-model"] == "large"


def test_03_max_cost_knows_of_tools(gateway: GatewayProcess) -> None:
    """77 kB are some 19,000 tokens, at 1 USD a million."""
    refused = chat(gateway, tools=[a_tool(77_000)], max_tokens=10, conduit=among("large", max_cost=0.012))
    assert problem(refused, 422, "no_eligible_model")["removed"]["large"].startswith("max_cost")


# ------------------------------------------------------------------ what does not fit


LONG = says("abcd" * 9_000)
FILE = {"type": "file", "file": {"file_id": "f"}}
TOO_LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "25 long words": ("/v1/chat/completions", {**LONG, "conduit": among("small")}),
    "25 long words, streamed": ("/v1/chat/completions", {**LONG, "stream": True, "conduit": among("small")}),
    "25 many tools": ("/v1/chat/completions", {**says("hi"), "tools": [a_tool(77_000)], "conduit": among("small")}),
    "25 Chinese": ("/v1/chat/completions", {**says("中文" * 10_000), "conduit": among("small")}),
    "25 a long answer": ("/v1/chat/completions", {**says("hi"), "max_tokens": 9_000, "conduit": among("small")}),
    "25 a model without the ability is beside the point": (
        "/v1/chat/completions",
        {**user({"type": "text", "text": "abcd" * 9_000}, FILE), "conduit": among("small", "blind")},
    ),
    "25 only a decision": ("/v1/route", {"prompt": "中文" * 700, **among("tiny")}),
    "25 our own shape": ("/v1/complete", {"prompt": "中文" * 700, **among("tiny")}),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body"), list(TOO_LONG.values()), ids=TOO_LONG)
def test_a_prompt_that_fits_no_window_says_so_as_clients_expect(
    gateway: GatewayProcess, path: str, body: dict[str, Any]
) -> None:
    named, window = ({"model": "auto", **body}, 8000) if "conduit" in body else (body, 500)
    error = problem(gateway.post(path, named), 400, "context_length_exceeded")["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "messages")
    assert error["message"].startswith(f"This model's maximum context length is {window} tokens. However, ")
    assert "Please reduce the length of the messages" in error["message"]


def test_25_where_another_prompt_would_not_help_it_is_as_before(gateway: GatewayProcess) -> None:
    blind = chat(gateway, **user({"type": "input_audio", "input_audio": {}}), conduit=among("blind"))
    assert "needs" in problem(blind, 422, "no_eligible_model")["removed"]["blind"]
    dear = chat(gateway, **LONG, conduit=among("small", "large", max_cost=1e-6))
    assert set(problem(dear, 422, "no_eligible_model")["removed"]) >= {"small", "large"}


NEEDS: dict[str, dict[str, Any]] = {
    "27 a file": user({"type": "file", "file": {"file_id": "f"}}),
    "27 a file by what it holds": user({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}),
    "27 a file in an earlier message": {
        "messages": [*user(FILE)["messages"], {"role": "assistant", "content": "x"}, HI]
    },
    "27 sound": user({"type": "text", "text": "what?"}, {"type": "input_audio", "input_audio": {"data": "AAAA"}}),
    "27 an answer to be heard": {**says("hi"), "modalities": ["text", "audio"], "audio": {"voice": "ash"}},
    "27 functions": {**says("hi"), "functions": [{"name": "f", "parameters": {}}]},
}


@pytest.mark.parametrize("body", list(NEEDS.values()), ids=NEEDS)
def test_what_a_model_cannot_take_it_is_not_sent(gateway: GatewayProcess, body: dict[str, Any]) -> None:
    only = chat(gateway, **body, conduit=among("blind"))
    assert problem(only, 422, "no_eligible_model")["removed"]["blind"].startswith("needs: no ")
    assert chat(gateway, **body, conduit=among("blind", "wise")).headers["x-conduit-model"] == "wise"


EMPTY: dict[str, list[dict[str, Any]]] = {
    "27 an empty message": [{"role": "user", "content": ""}],
    "27 blanks": [{"role": "user", "content": " \n"}],
    "27 no parts": [{"role": "user", "content": []}],
    "27 an empty part": [{"role": "user", "content": [{"type": "text", "text": ""}]}],
    "27 null": [{"role": "user", "content": None}],
    "27 only instructions, and those empty": [{"role": "system", "content": ""}],
}


@pytest.mark.parametrize("messages", list(EMPTY.values()), ids=EMPTY)
def test_an_empty_message_is_the_providers_to_judge(
    gateway: GatewayProcess, provider: StubProvider, messages: list[dict[str, Any]]
) -> None:
    provider.forget()
    reply = gateway.post("/v1/chat/completions", {"model": "auto", "messages": messages, "conduit": among("wise")})
    assert reply.status == 200
    assert [asked.json["messages"] for asked in provider.of("wise")] == [messages]


# ------------------------------------------------------------------ what is kept


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_36_a_user_of_megabytes_is_sent_on_and_not_kept(
    gateway: GatewayProcess, provider: StubProvider, path: str
) -> None:
    body: dict[str, Any] = {"model": "wise", "messages": [HI]}
    if path == "/v1/embeddings":
        body = {"model": "embed-0", "input": "hi"}
    provider.forget()
    reply = gateway.post(path, {**body, "user": "u" * 5_000_000})
    assert reply.status == 200
    assert len(provider.asked[0].json["user"]) == 5_000_000
    assert len(record(gateway, reply)["user_id"]) <= 200
    again = gateway.post(path, {**body, "user": "u" * 5_000_000})
    assert record(gateway, again)["user_id"] == record(gateway, reply)["user_id"]
