"""Agent loops can be tried on the sandbox, with OpenAI's client as it is."""

import json
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from openai import BadRequestError, LengthFinishReasonError, OpenAI
from openai.types.chat import ChatCompletionMessageToolCall
from pydantic import BaseModel, Field, TypeAdapter

from tests.support.gateway import GatewayProcess

MODEL = "sandbox/small"


def tool(name: str, description: str, **properties: object) -> dict[str, object]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = tool("get_weather", "The weather of a city, now.", city={"type": "string"})
CLOCK = tool("world_clock", "What time it is in a city.", city={"type": "string"}, form={"enum": ["24h", "12h"]})
FILES = tool("ls", "List the files of a directory.", directory={"type": "string", "minLength": 12})
BOTH = [WEATHER, CLOCK]
NAMED = {"type": "function", "function": {"name": "world_clock"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [CLOCK]}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    env = {"SANDBOX_TIME_SCALE": "0"}
    with (
        GatewayProcess(tmp_path_factory.mktemp("gateway"), env=env, command="conduit serve") as gateway,
        OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0) as made,
    ):
        yield made


def ask(client: OpenAI, prompt: str = "hello", **more: Any) -> Any:
    messages = [{"role": "user", "content": prompt}]
    return client.chat.completions.create(**{"model": MODEL, "messages": messages, **more})


def calls(client: OpenAI, prompt: str, *, stream: bool, **more: Any) -> tuple[list[tuple[str, Any]], str]:
    """Names and arguments, and why it ended; of a stream as its deltas come to."""
    if not stream:
        choice = ask(client, prompt, **more).choices[0]
        made = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
        return [(name, json.loads(arguments)) for name, arguments in made], choice.finish_reason
    parts: dict[int, list[str]] = {}
    why = ""
    for chunk in ask(client, prompt, stream=True, **more):
        for choice in chunk.choices:
            why = choice.finish_reason or why
            for call in choice.delta.tool_calls or ():
                named = parts.setdefault(call.index, ["", ""])
                named[0] += call.function.name or ""
                named[1] += call.function.arguments or ""
    return [(name, json.loads(arguments)) for name, arguments in parts.values()], why


CITY, HOUR = {"city": "simulated"}, {"city": "simulated", "form": "24h"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("prompt", "more", "expected"),
    [
        pytest.param("How is the weather in Paris?", {}, [("get_weather", CITY)], id="29 unsaid, one is meant"),
        pytest.param("weather?", {"tool_choice": "auto"}, [("get_weather", CITY)], id="29 auto, one is meant"),
        pytest.param("weather and clock", {}, [("get_weather", CITY), ("world_clock", HOUR)], id="29 both are meant"),
        pytest.param(
            "weather and clock", {"parallel_tool_calls": False}, [("get_weather", CITY)], id="29 not in parallel"
        ),
        pytest.param("What is the time in this city?", {"tools": [CLOCK]}, [("world_clock", HOUR)], id="29 described"),
        pytest.param(
            "Which files are in my directory?",
            {"tools": [FILES]},
            [("ls", {"directory": "simulated..."})],
            id="29 arguments keep to the schema",
        ),
        pytest.param("weather", {"tool_choice": ALLOWED}, [("world_clock", HOUR)], id="29 only some are allowed"),
    ],
)
def test_tools_are_called_where_the_prompt_asks_for_them(
    client: OpenAI, prompt: str, more: dict[str, Any], expected: list[tuple[str, Any]], stream: bool
) -> None:
    assert calls(client, prompt, stream=stream, **{"tools": BOTH, **more}) == (expected, "tool_calls")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("prompt", "more", "expected"),
    [
        pytest.param("Good morning!", {}, [], id="none is meant"),
        pytest.param("weather", {"tool_choice": "none"}, [], id="none is allowed"),
        pytest.param("Good morning!", {"tool_choice": "required"}, ["get_weather"], id="one is required"),
        pytest.param("weather", {"tool_choice": NAMED}, ["world_clock"], id="one is named"),
    ],
)
def test_29_control_what_was_right_before_still_is(
    client: OpenAI, prompt: str, more: dict[str, Any], expected: list[str], stream: bool
) -> None:
    made, why = calls(client, prompt, stream=stream, tools=BOTH, **more)
    assert ([name for name, _ in made], why) == (expected, "tool_calls" if expected else "stop")


@pytest.mark.parametrize("prompt", ["29 weather", "29 weather and clock"])
def test_an_agents_loop_ends_in_words(client: OpenAI, prompt: str) -> None:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    for _ in range(5):
        message = ask(client, messages=messages, tools=BOTH).choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            assert isinstance(call, ChatCompletionMessageToolCall)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"17 degrees, {call.function.name}"})
    assert sum(bool(each.get("tool_calls")) for each in messages) == 1, "called once, then told"
    assert "17 degrees, get_weather" in message.content
    messages.append({"role": "user", "content": "And what about the clock?"})
    assert ask(client, messages=messages, tools=BOTH).choices[0].message.tool_calls, "and goes on"


# ------------------------------------------------------------------ shapes


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    colour: Colour
    size: Annotated[int, Field(gt=3, le=5)]
    share: Annotated[float, Field(ge=0.25, lt=0.5)]


class Tree(BaseModel):
    """Refers to itself and to others."""

    name: Annotated[str, Field(min_length=12, max_length=14)]
    kind: Literal["tree"]
    leaves: Annotated[list[Leaf], Field(min_length=2, max_length=3)]
    left: "Tree | None"
    planted: date
    height: int | str
    notes: dict[str, int]
    seen: bool


class Circle(BaseModel):
    shape: Literal["circle"]
    radius: Annotated[float, Field(gt=0, multiple_of=0.5)]


class Square(BaseModel):
    shape: Literal["square"]
    side: int


class Drawing(BaseModel):
    what: Annotated[Circle | Square, Field(discriminator="shape")]
    at: tuple[int, str]
    tags: Annotated[set[Colour], Field(min_length=2)]


@pytest.mark.parametrize("shape", [Leaf, Tree, Drawing], ids=["29 bounds", "29 references", "29 unions"])
def test_an_answer_fits_the_schema(client: OpenAI, shape: type[BaseModel]) -> None:
    schema = shape.model_json_schema()
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    TypeAdapter(shape).validate_json(ask(client, response_format=wanted).choices[0].message.content, strict=False)


@pytest.mark.parametrize("shape", [Leaf, Tree], ids=["29 parsed, bounds", "29 parsed, references"])
def test_openais_client_parses_it(client: OpenAI, shape: type[BaseModel]) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    parsed = client.chat.completions.parse(model=MODEL, messages=messages, response_format=shape)
    assert isinstance(parsed.choices[0].message.parsed, shape)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "integer", "minimum": 5, "maximum": 4}, id="29 nothing fits"),
        pytest.param({"$ref": "#/nowhere"}, id="29 a reference to nothing"),
        pytest.param({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, id="29 an endless one"),
        pytest.param({"$ref": "https://example.com/schema.json"}, id="29 a foreign one"),
    ],
)
def test_what_cannot_be_made_is_refused(client: OpenAI, schema: dict[str, object]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    with pytest.raises(BadRequestError, match="response_format"):
        ask(client, response_format=wanted)


def test_29_a_schema_that_branches_without_end_holds_nobody(client: OpenAI) -> None:
    deep = {
        f"n{i}": {
            "type": "object",
            "properties": {"x": {"$ref": f"#/$defs/n{i + 1}"}, "y": {"$ref": f"#/$defs/n{i + 1}"}},
            "required": ["x", "y"],
        }
        for i in range(30)
    }
    schema = {"$defs": {**deep, "n30": {"type": "string"}}, "$ref": "#/$defs/n0"}
    with pytest.raises(BadRequestError, match="response_format"):
        ask(client, response_format={"type": "json_schema", "json_schema": {"name": "it", "schema": schema}})


# ------------------------------------------------------------------ the rest that a request may say


@pytest.mark.parametrize("stream", [False, True], ids=["29 whole", "29 stream"])
@pytest.mark.parametrize("top", [None, 0, 3])
def test_each_token_has_its_probability(client: OpenAI, stream: bool, top: int | None) -> None:
    more = {"logprobs": True} if top is None else {"logprobs": True, "top_logprobs": top}
    if stream:
        chunks = [chunk for chunk in ask(client, stream=True, **more) if chunk.choices]
        told = [t for c in chunks if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        choice = ask(client, **more).choices[0]
        told, text = choice.logprobs.content, choice.message.content
    assert "".join(each.token for each in told) == text
    for each in told:
        assert bytes(each.bytes).decode() == each.token
        assert each.logprob <= 0
        assert len(each.top_logprobs) == (top or 0)
        logprobs = [other.logprob for other in each.top_logprobs]
        assert logprobs == sorted(logprobs, reverse=True)
        assert not top or each.top_logprobs[0].token == each.token


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("more", "said", "why"),
    [
        pytest.param({"stop": "from"}, "This is a simulated answer ", "stop", id="29 stop, a string"),
        pytest.param({"stop": ["Conduit", "from", "xyz"]}, "This is a simulated answer ", "stop", id="29 the first"),
        pytest.param({"stop": ["answer"], "max_tokens": 2}, "This is", "length", id="29 control: stop after the limit"),
        pytest.param({"stop": [" a"], "max_tokens": 4}, "This is", "stop", id="29 stop before the limit"),
    ],
)
def test_an_answer_ends_where_it_is_told_to(
    client: OpenAI, more: dict[str, Any], said: str, why: str, stream: bool
) -> None:
    if stream:
        choices = [chunk.choices[0] for chunk in ask(client, stream=True, **more) if chunk.choices]
        found = "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason
    else:
        choice = ask(client, **more).choices[0]
        found = choice.message.content, choice.finish_reason
    assert found == (said, why)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        pytest.param({"top_logprobs": 3}, "top_logprobs", id="29 without logprobs"),
        pytest.param({"logprobs": True, "top_logprobs": 21}, "top_logprobs", id="29 too many"),
        pytest.param({"logprobs": "yes"}, "logprobs", id="29 no truth"),
        pytest.param({"stop": ["a"] * 5}, "stop", id="29 five stops"),
        pytest.param({"stop": [""]}, "stop", id="29 an empty stop"),
        pytest.param({"stop": 7}, "stop", id="29 a number"),
        pytest.param({"seed": "x"}, "seed", id="29 no number"),
    ],
)
def test_what_openai_refuses_is_refused(client: OpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        ask(client, extra_body=more)
    assert caught.value.param == param


def test_29_a_seed_fixes_the_answer_and_another_seed_another(client: OpenAI) -> None:
    prompt = "Write a long poem about the sea"
    texts = {seed: {ask(client, prompt, seed=seed).choices[0].message.content for _ in range(3)} for seed in range(8)}
    assert all(len(said) == 1 for said in texts.values())
    assert len(set.union(*texts.values())) > 1


def test_29_several_answers_each_have_all_of_it(client: OpenAI) -> None:
    answer = ask(client, n=3, logprobs=True, stop=["from"], max_tokens=50)
    assert [choice.message.content for choice in answer.choices] == ["This is a simulated answer "] * 3
    assert all("".join(t.token for t in c.logprobs.content) == c.message.content for c in answer.choices)
    called = ask(client, "weather", n=2, tools=BOTH)
    ids = [call.id for choice in called.choices for call in choice.message.tool_calls]
    assert len(set(ids)) == 2


def test_29_control_a_schema_that_the_limit_cuts_says_so(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(LengthFinishReasonError):
        client.chat.completions.parse(model=MODEL, messages=messages, response_format=Tree, max_tokens=2)
