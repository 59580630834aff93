"""Bytes to values: what we read of a request, and how a mistake is named."""

from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import Message

from conduit.api.body import chat_ask, json_object, parsed, wants_stream
from conduit.api.schema import CompleteIn, FeedbackIn, RouteIn
from conduit.gateway.request.exchange import Ask
from conduit.routing.errors import InvalidRequest
from conduit.routing.query import PRESETS, Preferences

DEFAULT = Preferences(quality=3.0)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def ask(**body: Any) -> Ask:
    hello = [{"role": "user", "content": "hello"}]
    return chat_ask({"model": "auto", "messages": hello, **body}, default=DEFAULT, headers={})


def said(*messages: tuple[str, Any]) -> Ask:
    return ask(messages=[{"role": role, "content": content} for role, content in messages])


# ------------------------------------------------------------------ what is read of a chat


def test_auto_is_no_model_and_any_other_name_is_one() -> None:
    """None asks the router."""
    assert ask().model is None
    assert ask(model="gpt-9").model == "gpt-9"


def test_the_body_goes_on_without_our_field_and_otherwise_untouched() -> None:
    """The very same values."""
    odd = {"top_k": [1, {"a": None}]}
    assert ask(odd=odd, conduit={"preferences": "cost"}).body == {**ask().body, "odd": odd}


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({}, set()),
        ({"tools": []}, set()),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": {"type": "json_object"}}, {"json"}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"json"}),
        ({"response_format": "json_object"}, set()),
        ({"response_format": {"type": ["json_object"]}}, set()),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, {"vision"}),
        ({"messages": [{"role": "user", "content": [IMAGE]}, {"role": "user", "content": "and?"}]}, {"vision"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"functions": []}, set()),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, {"files"}),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, {"audio"}),
        ({"modalities": ["text", "audio"]}, {"audio"}),
        ({"modalities": ["text"]}, set()),
        ({"messages": [{"role": "user", "content": [{"type": ["file"]}, 3, None]}]}, set()),
        ({"tools": [{}], "response_format": {"type": "json_object"}}, {"tools", "json"}),
    ],
)
def test_needs_are_read_off_the_request(body: dict[str, Any], needs: set[str]) -> None:
    """Of any message, not only of the last."""
    assert ask(**body).query.requirements.needs == needs


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_tokens": 0}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": "5"}, None),
    ],
)
def test_the_most_tokens_bound_the_forecast(limits: dict[str, Any], most: int | None) -> None:
    """What is senseless is the provider's to refuse."""
    assert ask(**limits).query.max_output_tokens == most


def test_features_read_the_last_thing_that_the_user_said() -> None:
    """Not the system's words, not the assistant's, nor a blank."""
    conversation = [("system", "Be brief."), ("user", "first"), ("assistant", "answer"), ("user", "second")]
    assert said(*conversation).query.text == "second"
    assert said(*conversation, ("assistant", "more"), ("user", "  ")).query.text == "second"
    assert said(("user", [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}])).query.text == "a\nb"


def test_without_a_user_features_read_everything() -> None:
    """As far as it is text."""
    assert said(("system", "one"), ("assistant", None), ("tool", "two")).query.text == "one\n\ntwo"


def test_input_tokens_are_those_of_the_whole_conversation() -> None:
    """Of which the last message may be a small part."""
    assert said(("user", "x" * 4000), ("user", "hi")).query.input_tokens == pytest.approx(1001, abs=1)


def test_an_image_alone_is_something_to_ask_and_so_is_nothing() -> None:
    """Whether an empty message makes sense is the provider's to say."""
    assert said(("user", [IMAGE])).query.text.strip() == ""
    assert said(("user", ""), ("assistant", None)).query.text.strip() == ""
    with pytest.raises(InvalidRequest):
        said()


def test_our_field_brings_constraints_and_preferences() -> None:
    """Under their public names."""
    limits = {
        "max_cost": 0.5,
        "max_latency": 2.0,
        "min_quality": 0.7,
        "preferred_provider": "p",
        "allow": ["a"],
        "deny": ["b"],
    }
    query = ask(conduit={"constraints": limits, "preferences": "speed"}).query
    r = query.requirements
    assert (r.max_cost_usd, r.max_latency_s, r.min_quality, r.preferred_provider) == (0.5, 2.0, 0.7, "p")
    assert (r.allow, r.deny) == ({"a"}, {"b"})
    assert query.preferences == PRESETS["speed"]
    assert ask(conduit={"preferences": {"quality": 2, "latency": 1}}).query.preferences == Preferences(2, 0, 1)
    assert ask().query.preferences == DEFAULT


def test_user_is_kept_when_it_is_a_name() -> None:
    """OpenAI's field; anything else is the provider's business."""
    assert ask(user="u").query.user_id == "u"
    assert ask(user=5).query.user_id is None


def test_a_session_is_named_by_the_field_or_else_by_the_header() -> None:
    """The field wins; a single prompt has none."""
    assert ask().query.session_id is None
    assert ask(conduit={"session_id": "s"}).query.session_id == "s"
    data = {"model": "auto", "messages": [{"role": "user", "content": "a"}]}
    assert chat_ask(dict(data), default=DEFAULT, headers={}, session_id="h").query.session_id == "h"
    both = chat_ask(data | {"conduit": {"session_id": "f"}}, default=DEFAULT, headers={}, session_id="h")
    assert both.query.session_id == "f"


@pytest.mark.parametrize(("body", "wanted"), [({}, False), ({"stream": None}, False), ({"stream": True}, True)])
def test_a_stream_is_wanted_by_true_alone(body: dict[str, Any], wanted: bool) -> None:
    """Null is how some clients say no."""
    assert wants_stream(body) is wanted


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("model", "data", "param"),
    [
        (RouteIn, {}, "prompt"),
        (RouteIn, {"prompt": " "}, "prompt"),
        (RouteIn, {"prompt": "a", "constraints": {"max_cost": "1"}}, "constraints.max_cost"),
        (RouteIn, {"prompt": "a", "constraints": {"allow": ["a", 1]}}, "constraints.allow.1"),
        (CompleteIn, {"prompt": "a", "result_type": "xml"}, "result_type"),
        (FeedbackIn, {"response_id": "x", "quality_score": float("nan")}, "quality_score"),
        (FeedbackIn, {"response_id": "x", "quality_score": float("inf")}, "quality_score"),
        (FeedbackIn, {"response_id": "x", "unknown": 1}, "unknown"),
        (RouteIn, [], None),
    ],
)
def test_a_mistake_names_its_field_and_repeats_nothing(model: type[Any], data: Any, param: str | None) -> None:
    """What was sent may be a secret."""
    with pytest.raises(InvalidRequest) as raised:
        parsed(model, data)
    assert (raised.value.param, raised.value.status) == (param, 422)
    assert str(raised.value).startswith(param or "body")
    assert "xml" not in str(raised.value)


def test_a_mistake_in_a_part_names_its_whole_path() -> None:
    """From the top of the body."""
    with pytest.raises(InvalidRequest) as raised:
        ask(conduit={"constraints": {"min_quality": 2}})
    assert raised.value.param == "conduit.constraints.min_quality"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"1", b'{"a": NaN}', b"\xff"])
async def test_what_is_no_json_object_is_400(raw: bytes) -> None:
    """And the message repeats nothing of it."""

    async def receive() -> Message:
        return {"type": "http.request", "body": raw}

    with pytest.raises(InvalidRequest) as raised:
        await json_object(Request({"type": "http", "method": "POST", "headers": []}, receive))
    assert raised.value.status == 400
    assert raised.value.param is None


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """To JSON Schema it is an integer. Nothing else is taken for one."""
    assert FeedbackIn(response_id="a", user_rating=5.0).user_rating == 5
    for wrong in (4.5, True, "5", 6.0, float("inf")):
        with pytest.raises(ValidationError):
            FeedbackIn(response_id="a", user_rating=wrong)
