"""What an answer used, whatever the provider says of it."""

from hypothesis import given
from hypothesis import strategies as st

from conduit.gateway.meter import Meter, text_of
from conduit.testing import completion

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_the_providers_count_is_believed() -> None:
    meter = Meter(7)
    meter.read(completion("four", input_tokens=11, output_tokens=22))
    assert used(meter) == (11, 22, True)
    assert meter.response_id == "chatcmpl-1"


def test_without_a_count_tokens_are_estimated_from_what_was_said() -> None:
    meter = Meter(7)
    for _ in range(10):
        meter.read({"choices": [{"delta": {"content": "abcd" * 4}}]})
    assert used(meter) == (7, 41, False)


@given(
    usage=JSON,
    choices=JSON | st.lists(st.fixed_dictionaries({"message": JSON, "delta": JSON}), max_size=2),
)
def test_garbage_is_neither_believed_nor_fatal(usage: object, choices: object) -> None:
    meter = Meter(7)
    data = {"usage": usage, "choices": choices, "id": usage}
    meter.read(data)
    text_of(data)
    assert 0 <= meter.input_tokens <= 10**9
    assert 0 <= meter.output_tokens <= 10**9


@given(tokens=st.integers(max_value=-1) | st.integers(min_value=10**9 + 1) | st.booleans())
def test_counts_that_cannot_be_are_not_turned_into_dollars(tokens: object) -> None:
    meter = Meter(7)
    meter.read({"usage": {"prompt_tokens": tokens, "completion_tokens": tokens}})
    assert not meter.measured


def test_what_the_provider_had_at_hand_is_read_where_it_says_so() -> None:
    meter = Meter(7)
    meter.read({"usage": {"prompt_tokens": 2000, "prompt_tokens_details": {"cached_tokens": 1024}}})
    assert (meter.input_tokens, meter.cached_tokens) == (2000, 1024)
    meter.read({"usage": {"prompt_tokens_details": {"cached_tokens": "many"}}})
    assert meter.cached_tokens == 1024
