"""The sandbox is the same every time, and honest about itself."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.errors import UpstreamError, UpstreamRejected
from conduit.core.protocols import Call, Timeouts
from conduit.routing.catalogue import Model
from tests.unit.providers.asking import CODE, HARD_MATH, MODELS, TOOL, ask, call, sandbox

FIELDS = [
    "messages",
    "n",
    "max_tokens",
    "tools",
    "tool_choice",
    "response_format",
    "stream_options",
    "input",
    "dimensions",
]
NAMES = st.sampled_from(["role", "content", "type", "text", "function", "name", "properties", "enum", "json_schema"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.sampled_from(["", "user", "json_schema", "required", "object"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


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
    answer = await ask("small", "hello", **{name: 5})
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
async def test_a_malformed_request_is_rejected_as_a_provider_would(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamRejected) as caught:
        await ask(**body)
    assert json.loads(caught.value.body)["error"]["param"] == next(iter(body))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), st.sampled_from(["complete", "embed"]))
async def test_any_body_is_answered_or_rejected(body: dict[str, Any], how: str) -> None:
    asked = Call(MODELS["small"], {"messages": [{"role": "user", "content": "hi"}], **body}, Timeouts(), {})
    with suppress(UpstreamRejected):
        assert (await getattr(sandbox(), how)(asked)).body


async def test_a_model_of_somebody_else_is_unknown() -> None:
    with pytest.raises(UpstreamError, match="http 404") as caught:
        await sandbox().complete(Call(Model("gpt-4", "sandbox"), {"messages": [{}]}, Timeouts(), {}))
    assert not caught.value.counts
