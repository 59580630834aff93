"""What an answer used, whatever the provider says of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.gateway.request.meter import Meter, Used, cost_usd, text_of
from conduit.routing.catalogue import Price
from conduit.testing import completion

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PRICE = Price(1.0, 10.0, 0.1, 1.25, (("flex", 0.5),))


def read(*frames: dict[str, Any], estimate: int = 7) -> Used:
    meter = Meter(estimate)
    for frame in frames:
        meter.read(frame)
    return meter.used()


def counts(used: Used) -> tuple[int, int, bool]:
    return used.input_tokens, used.output_tokens, used.measured


def said(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


def test_the_providers_count_is_believed() -> None:
    meter = Meter(7)
    meter.read(completion("four", input_tokens=11, output_tokens=22))
    assert counts(meter.used()) == (11, 22, True)
    assert meter.response_id == "chatcmpl-1"


def test_without_a_count_tokens_are_estimated_from_what_was_said() -> None:
    assert counts(read(*[said("abcd" * 4)] * 10)) == (7, 41, False)


@given(
    usage=JSON,
    choices=JSON | st.lists(st.fixed_dictionaries({"message": JSON, "delta": JSON}), max_size=2),
)
def test_garbage_is_neither_believed_nor_fatal(usage: object, choices: object) -> None:
    meter = Meter(7)
    data = {"usage": usage, "choices": choices, "id": usage, "service_tier": usage, "x_groq": usage}
    meter.read(data)
    text_of(data)
    used = meter.used()
    assert 0 <= used.input_tokens <= 10**9
    assert 0 <= used.output_tokens <= 10**9
    assert (cost_usd(PRICE, used) or 0.0) >= 0.0


@pytest.mark.parametrize(
    "tokens", [None, True, False, -1, -1.0, 1.5, float("nan"), float("inf"), "", "many", "-3", [3]]
)
def test_what_is_no_count_says_nothing(tokens: object) -> None:
    used = read({"usage": {"prompt_tokens": tokens, "completion_tokens": tokens}})
    assert (used.measured, used.doubt) == (False, None)


@pytest.mark.parametrize("tokens", [1000, 1000.0, "1000", "1000.0"])
def test_a_count_is_one_however_it_is_written(tokens: object) -> None:
    assert counts(read({"usage": {"prompt_tokens": tokens, "completion_tokens": tokens}})) == (1000, 1000, True)


@pytest.mark.parametrize(("asked", "answered"), [(10**9, 4), (4, 10**9), (0, 0), (0, 4), (5, 0), (10**300, 1)])
def test_what_cannot_be_is_an_estimate(asked: int, answered: int) -> None:
    usage = {"prompt_tokens": asked, "completion_tokens": answered}
    used = read({**said("abcd" * 100), "usage": usage})
    assert used.input_tokens == (asked if 0 < asked <= 100 else 7)
    assert used.output_tokens == (answered if answered == 4 else 101)
    assert not used.measured
    assert used.doubt


def test_an_answer_of_nothing_may_have_no_tokens() -> None:
    assert counts(read({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}})) == (5, 0, True)


def test_a_window_that_is_declared_bounds_what_is_believed() -> None:
    meter = Meter(7)
    meter.read({"usage": {"prompt_tokens": 5_000_000, "completion_tokens": 20_000}})
    assert meter.used(window=10_000_000).measured
    assert not meter.used(window=8_000).measured
    assert meter.used(window=8_000, choices=2).output_tokens == 20_000


def test_what_comes_after_a_running_count_is_added_to_it() -> None:
    running = {**said("abcd" * 10), "usage": {"prompt_tokens": 5, "completion_tokens": 10}}
    assert counts(read(running, said("abcd" * 3))) == (5, 13, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "abcd" * 100},
        {"reasoning_content": "abcd" * 100},
        {"reasoning": "abcd" * 100, "reasoning_content": "abcd" * 100},
        {"reasoning": "abcd" * 100, "reasoning_details": [{"type": "reasoning.text", "text": "abcd" * 100}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "abcd" * 100, "signature": "EqQB" * 999}]},
        {"refusal": "abcd" * 100},
        {"tool_calls": [{"id": "c" * 999, "type": "function", "function": {"name": "abcd", "arguments": "abcd" * 99}}]},
        {"function_call": {"name": "abcd", "arguments": "abcd" * 99}},
        {"audio": {"id": "a" * 999, "data": "AAAA" * 999, "transcript": "abcd" * 100, "expires_at": 1}},
        {"unheard_of": "abcd" * 100, "role": "assistant"},
        {"content": [{"type": "text", "text": "abcd" * 100}]},
    ],
)
def test_everything_that_is_generated_counts_once(fields: dict[str, Any]) -> None:
    for name in ("delta", "message"):
        assert read({"choices": [{"index": 0, name: fields}]}).output_tokens == 101


def test_dollars_that_the_provider_tells_are_believed_within_reason() -> None:
    told = {"prompt_tokens": 1000, "completion_tokens": 100}
    for cost, booked in ((0.0042, 0.0042), (0.0, 0.002), (-1.0, 0.002), (1e6, 0.002), (None, 0.002), (True, 0.002)):
        assert cost_usd(PRICE, read({"usage": {**told, "cost": cost}})) == pytest.approx(booked)
    assert cost_usd(None, read({"usage": {**told, "cost": 0.5}})) == 0.5
    assert cost_usd(None, read({"usage": told})) is None


def test_a_cache_and_a_service_tier_have_their_prices() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "cache_read_input_tokens": 400}
    assert cost_usd(PRICE, read({"usage": usage})) == pytest.approx((600 + 40) / 1e6)
    written = {**usage, "cache_creation_input_tokens": 200}
    assert cost_usd(PRICE, read({"usage": written})) == pytest.approx((600 + 40 + 50) / 1e6)
    assert cost_usd(PRICE, read({"usage": usage, "service_tier": "flex"})) == pytest.approx(320 / 1e6)
    assert cost_usd(PRICE, read({"usage": usage, "service_tier": "scale"})) == pytest.approx(640 / 1e6)


def test_what_the_provider_had_at_hand_is_read_where_it_says_so() -> None:
    told = {"usage": {"prompt_tokens": 2000, "prompt_tokens_details": {"cached_tokens": 1024}}}
    used = read(told, {"usage": {"prompt_tokens_details": {"cached_tokens": "many"}}})
    assert (used.input_tokens, used.cached_tokens) == (2000, 1024)
