"""What a request may take, before anybody has counted."""

import pytest

from conduit.gateway.request.exchange import Ask
from conduit.routing.query import Query, Requirements


@pytest.mark.parametrize(
    ("ask", "tokens"),
    [
        (Ask(Query("x" * 40), {}), 11 + 100),
        (Ask(Query("hi", max_output_tokens=7), {}, size=400), 101 + 7),
        (Ask(Query("hi", max_output_tokens=7), {"n": 3}, size=400), 101 + 21),
        (Ask(Query("hi"), {"n": 1000.0}, size=400), 101 + 100_000),
        (Ask(Query("hi"), {"n": "3"}, size=400), 101 + 100),
        (Ask(Query("", input_tokens=9), {"n": 3}, size=400, answers=False), 101),
        (Ask(Query("hi", requirements=Requirements(frozenset({"vision"}))), {}, size=4_000_000), 1 + 100),
    ],
)
def test_tokens_are_a_quarter_of_the_bytes_and_the_limit_of_each_answer(ask: Ask, tokens: int) -> None:
    """Or what is assumed of one whose limit nobody said. A picture's bytes are no tokens."""
    assert ask.tokens(unsaid=100) == tokens
