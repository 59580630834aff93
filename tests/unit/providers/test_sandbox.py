"""The sandbox: always the same, honest about itself, and with something in it to learn."""

import json
import math
from base64 import b64decode
from statistics import mean
from struct import unpack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.catalogue import Catalogue, Model
from conduit.core.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.core.protocols import Call, Frame
from conduit.providers.sandbox import SandboxProvider, sandbox_models
from conduit.providers.sandbox_world import KINDS, difficulty_of, kind_of

MODELS = {model.name.removeprefix("sandbox/"): model for model in sandbox_models()}
EASY_CHAT = ["hi there", "hello, how are you?", "thanks a lot!", "tell me a joke", "hey, what's up?", "good morning"]
CODE = [
    f"Write a python function that {what}, with tests for the edge cases"
    for what in ("reverses a list", "parses a date", "finds cycles in a graph", "merges intervals", "caches results")
]
HARD_MATH = [
    f"Prove rigorously, step by step and in the general case, that {what}; derive the asymptotic equation"
    for what in ("the sum of squares grows", "every prime divides it", "the matrix has rank two", "the integral exists")
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["C", "F"]},
                "days": {"type": "array", "items": {"type": "integer"}},
                "exact": {"type": "boolean"},
            },
            "required": ["city"],
        },
    },
}


def call(model: str = "small", prompt: str = "hello", timeout_s: float = 5.0, **body: object) -> Call:
    return Call(MODELS[model], {"messages": [{"role": "user", "content": prompt}], **body}, timeout_s, {})


def sandbox(seed: int = 0) -> SandboxProvider:
    return SandboxProvider(seed=seed, time_scale=0.0, now_s=lambda: 1_700_000_000.5)


async def ask(model: str = "small", prompt: str = "hello", **body: object) -> Any:
    return json.loads((await sandbox().complete(call(model, prompt, **body))).body)


async def frames(call: Call) -> list[Frame]:
    return [frame async for frame in sandbox().stream(call)]


async def quality(model: str, prompts: list[str]) -> float:
    return mean([(await ask(model, prompt))["conduit_sandbox"]["quality"] for prompt in prompts])


# ------------------------------------------------------------------ a catalogue to learn on


def test_five_models_over_a_hundredfold_price_range() -> None:
    assert [model.name for model in Catalogue(sandbox_models())] == [
        f"sandbox/{name}" for name in ("nano", "small", "coder", "large", "frontier")
    ]
    prices = [model.price.output_usd_per_mtok for model in sandbox_models() if model.price]
    assert len(prices) == 5
    assert max(prices) == pytest.approx(100 * min(prices))


async def test_cheap_models_are_as_good_at_easy_chat() -> None:
    assert await quality("nano", EASY_CHAT) > await quality("frontier", EASY_CHAT) - 0.06


async def test_coder_is_as_good_as_frontier_at_code_for_a_tenth_of_the_price() -> None:
    assert await quality("coder", CODE) > await quality("frontier", CODE) - 0.06
    assert await quality("coder", CODE) > await quality("small", CODE) + 0.1
    coder, frontier = MODELS["coder"].price, MODELS["frontier"].price
    assert coder
    assert frontier
    assert frontier.output_usd_per_mtok == pytest.approx(10 * coder.output_usd_per_mtok)


async def test_only_the_large_hold_on_hard_math() -> None:
    held = {name for name in MODELS if await quality(name, HARD_MATH) > 0.7}
    assert held == {"large", "frontier"}


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Fix this: ```def f(x): return x+```", "code"),
        ("Solve x^2 - 5x + 6 = 0", "math"),
        ("Write a haiku about autumn", "writing"),
        ("Compare both plans; pros and cons", "analysis"),
        ("hi, how are you?", "chat"),
        ("What is the capital of France?", "other"),
        ("", "other"),
    ],
)
def test_kinds(prompt: str, kind: str) -> None:
    assert kind_of(prompt) == kind


def test_hard_words_and_length_make_it_harder() -> None:
    assert difficulty_of("hi") < difficulty_of(CODE[0]) < difficulty_of(HARD_MATH[0])


@given(st.text())
def test_any_prompt_has_a_kind_and_a_difficulty(prompt: str) -> None:
    assert kind_of(prompt) in KINDS
    assert 0 <= difficulty_of(prompt) <= 1


# ------------------------------------------------------------------ the same every time


async def test_the_same_question_gives_the_same_answer_under_a_new_id() -> None:
    provider = sandbox()
    one, other = [(await provider.complete(call(n=2))).data for _ in range(2)]
    assert one["id"] != other["id"], "feedback finds an answer by its id"
    assert {**one, "id": 0} == {**other, "id": 0}
    assert one["created"] == 1_700_000_000


async def test_the_seed_changes_the_world() -> None:
    answers = [(await sandbox(seed).complete(call())).data["conduit_sandbox"] for seed in (0, 1)]
    assert answers[0] != answers[1]


@given(st.text(max_size=200), st.sampled_from(sorted(MODELS)))
async def test_no_prompt_whatever_fails(prompt: str, model: str) -> None:
    answer = await ask(model, prompt)
    assert 0 <= answer["conduit_sandbox"]["quality"] <= 1


async def test_half_a_surrogate_in_a_prompt_does_not_fail() -> None:
    assert await ask(prompt="\ud83d")


# ------------------------------------------------------------------ what it says


async def test_it_says_what_it_is() -> None:
    answer = await ask("coder", CODE[0])
    text = answer["choices"][0]["message"]["content"]
    assert text.startswith("This is a simulated answer from the Conduit sandbox")
    assert "sandbox/coder" in text
    assert "Kind of prompt: code" in text
    assert f"Difficulty: {answer['conduit_sandbox']['difficulty']:.2f}" in text


async def test_the_shape_of_a_completion() -> None:
    answer = await ask()
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "sandbox/small"
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == len(answer["choices"][0]["message"]["content"].split())


async def test_harder_prompts_and_wordier_models_say_more() -> None:
    def tokens(answer: Any) -> int:
        return int(answer["usage"]["completion_tokens"])

    assert tokens(await ask("frontier", HARD_MATH[0])) > tokens(await ask("frontier", "What is 1 + 1?"))
    assert tokens(await ask("frontier", HARD_MATH[0])) > tokens(await ask("nano", HARD_MATH[0]))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_length_limit_is_kept(name: str) -> None:
    answer = await ask(**{name: 5})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"] == "This is a simulated answer"
    assert answer["usage"]["completion_tokens"] == 5


async def test_several_choices_are_several_answers() -> None:
    answer = await ask(n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    said = [len(choice["message"]["content"].split()) for choice in answer["choices"]]
    assert answer["usage"]["completion_tokens"] == sum(said)


async def test_json_is_json() -> None:
    content = (await ask(response_format={"type": "json_object"}))["choices"][0]["message"]["content"]
    assert json.loads(content)["model"] == "sandbox/small"


async def test_json_keeps_to_the_schema() -> None:
    schema = TOOL["function"]["parameters"]  # type: ignore[index]
    wanted = {"type": "json_schema", "json_schema": {"name": "w", "schema": schema}}
    content = (await ask(response_format=wanted))["choices"][0]["message"]["content"]
    assert json.loads(content) == {"city": "simulated", "unit": "C", "days": [1], "exact": True}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_required_tool_is_called(choice: object) -> None:
    answer = (await ask(tools=[TOOL], tool_choice=choice))["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["content"] is None
    function = answer["message"]["tool_calls"][0]["function"]
    assert function["name"] == "get_weather"
    assert json.loads(function["arguments"]) == {"city": "simulated", "unit": "C", "days": [1], "exact": True}


async def test_a_tool_that_is_only_offered_is_not_called() -> None:
    assert (await ask(tools=[TOOL], tool_choice="auto"))["choices"][0]["finish_reason"] == "stop"


async def test_a_schema_that_refers_to_itself_ends() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    schema["properties"]["child"] = {"anyOf": [schema]}
    tool = {"function": {"name": "deep", "parameters": schema}}
    assert (await sandbox().complete(call(tools=[tool], tool_choice="required"))).data


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "hello"},
        {"messages": [1]},
        {"n": 0},
        {"n": 1000},
        {"n": True},
        {"max_tokens": "5"},
        {"max_tokens": -1},
    ],
)
async def test_a_malformed_request_is_rejected_as_a_provider_would(body: dict[str, object]) -> None:
    with pytest.raises(UpstreamRejected) as caught:
        await ask(**body)
    assert json.loads(caught.value.body)["error"]["param"] == next(iter(body))


async def test_a_model_of_somebody_else_is_unknown() -> None:
    with pytest.raises(UpstreamError, match="http 404") as caught:
        await sandbox().complete(Call(Model("gpt-4", "sandbox"), {"messages": [{}]}, 1.0, {}))
    assert not caught.value.counts


# ------------------------------------------------------------------ streams


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 2},
        {"max_tokens": 11},
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
    ],
)
async def test_a_stream_says_what_the_whole_answer_says(body: dict[str, object]) -> None:
    whole = await ask("large", CODE[0], **body)
    got = [frame.data for frame in await frames(call("large", CODE[0], stream=True, **body)) if frame.data]
    for expected in whole["choices"]:
        parts = [c for data in got for c in data["choices"] if c["index"] == expected["index"]]  # type: ignore[attr-defined]
        assert parts[-1]["finish_reason"] == expected["finish_reason"]
        assert parts[0]["delta"]["role"] == "assistant"
        assert "".join(part["delta"].get("content") or "" for part in parts) == (expected["message"]["content"] or "")
        calls = [call for part in parts for call in part["delta"].get("tool_calls", [])]
        arguments = "".join(call["function"]["arguments"] for call in calls)
        assert arguments == "".join(c["function"]["arguments"] for c in expected["message"].get("tool_calls", []))
    assert got[-1]["usage"] == whole["usage"]
    assert got[-2]["conduit_sandbox"] == whole["conduit_sandbox"]


async def test_frames_are_events_whose_data_they_hold() -> None:
    for frame in await frames(call(stream=True, stream_options={"include_usage": True})):
        assert frame.raw.startswith(b"data: ")
        assert frame.raw.endswith(b"\n\n")
        assert json.loads(frame.raw[6:]) == frame.data


async def test_usage_is_hidden_from_who_did_not_ask() -> None:
    got = await frames(call(stream=True))
    assert [frame.raw == b"" for frame in got] == [False] * (len(got) - 1) + [True]
    assert got[-1].data


# ------------------------------------------------------------------ time


async def test_a_model_slower_than_the_time_out_times_out() -> None:
    slow = SandboxProvider(seed=0, time_scale=1000.0)
    with pytest.raises(UpstreamTimeout, match="timed out"):
        await slow.complete(call(timeout_s=0.01))


async def test_time_can_be_scaled() -> None:
    brisk = SandboxProvider(seed=0, time_scale=1e-6)
    assert (await brisk.complete(call())).data


# ------------------------------------------------------------------ embeddings


async def test_embeddings_are_unit_vectors_and_alike_for_alike_texts() -> None:
    texts = ["the cat sat on the mat", "a cat sat on a mat", "quarterly revenue grew by nine percent", ""]
    answer = (await sandbox().embed(call(input=texts, dimensions=512))).data
    vectors = [entry["embedding"] for entry in answer["data"]]  # type: ignore[attr-defined]
    assert [len(vector) for vector in vectors] == [512] * 4
    for vector in vectors:
        assert math.hypot(*vector) == pytest.approx(1.0)

    def alike(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert alike(vectors[0], vectors[1]) > alike(vectors[0], vectors[2]) + 0.2


async def test_embeddings_come_packed_on_request() -> None:
    plain, packed = [
        (await sandbox().embed(call(input="hello world", encoding_format=form))).data["data"][0]["embedding"]  # type: ignore[index]
        for form in ("float", "base64")
    ]
    assert list(unpack("<256f", b64decode(packed))) == pytest.approx(plain)


async def test_token_numbers_can_be_embedded() -> None:
    assert len((await sandbox().embed(call(input=[[1, 2], [3]]))).data["data"]) == 2  # type: ignore[arg-type]
    assert len((await sandbox().embed(call(input=[1, 2]))).data["data"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": [1.5]}, {"input": "a", "dimensions": 10**9}])
async def test_what_cannot_be_embedded_is_rejected(body: dict[str, object]) -> None:
    with pytest.raises(UpstreamRejected):
        await sandbox().embed(call(**body))


async def test_closing_is_always_possible() -> None:
    await sandbox().close()
