"""What a chat asks of a model is read off whatever its body holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.gateway.request.asked import KINDS, read
from conduit.routing.query import estimate_tokens, weigh

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.lists(
    JSON
    | st.fixed_dictionaries({"type": st.sampled_from([*map(str, KINDS), "text", "x"]), "text": JSON, "file": JSON}),
    max_size=3,
)


def tokens(content: object, **body: Any) -> int:
    return estimate_tokens(read(body, [{"role": "user", "content": content}]).weight)


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_english_weighs_its_characters(text: str) -> None:
    assert tokens(text) == 1 + len(text) // 4


@given(st.text())
def test_no_text_weighs_more_than_its_bytes_and_a_quarter_nor_less_than_its_characters(text: str) -> None:
    assert len(text) <= weigh(text) <= 1.25 * len(text.encode("utf-8", "surrogatepass"))


@given(content=st.none() | st.text() | PARTS, beside=JSON, shape=JSON)
def test_odd_bodies_are_read_without_a_fault(content: object, beside: Any, shape: Any) -> None:
    message = {"role": "user", "content": content, "tool_calls": beside, "x": beside}
    asked = read({"tools": beside, "response_format": shape, "modalities": beside, "audio": beside}, [message])
    assert asked.weight >= 0
    assert asked.needs <= {"tools", "json", "vision", "audio", "files"}


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4_000_000}}, 1445, 1446),
        ({"type": "image_url", "image_url": {"url": "https://e.org/x", "detail": "low"}}, 85, 86),
        ({"type": "image_url", "image_url": "https://e.org/x"}, 1445, 1446),
        ({"type": "input_audio", "input_audio": {"data": "A" * 330_000}}, 1000, 1003),
        ({"type": "file", "file": {"file_id": "f"}}, 1500, 1501),
        ({"type": "file", "file": {"file_data": "A" * 2_000_000}}, 100_000, 100_001),
        ({"type": "unheard_of", "words": "abcd" * 1000}, 1000, 1020),
        ({"type": "text", "text": "abcd" * 1000}, 1001, 1001),
    ],
)
def test_each_part_has_its_weight(part: dict[str, Any], least: int, most: int) -> None:
    assert least <= tokens([part]) <= most
