"""A body's structure is counted as a parser would, whatever its strings hold."""

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.api.structure import MOST_CONTAINERS, MOST_VALUES, _without_strings, check_structure
from conduit.routing.errors import InvalidRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('[]{},:"\\ \nx', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\,', max_size=4), inner, max_size=4),
    max_leaves=20,
)


def containers(data: object) -> int:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return isinstance(data, dict | list) + sum(map(containers, inner))


@given(JSON)
def test_what_is_counted_is_what_a_parser_makes(data: object) -> None:
    rest = _without_strings(orjson.dumps(data))
    assert rest.count(b"[") + rest.count(b"{") == containers(data)


@pytest.mark.parametrize("one", [b"[]", b"{}", b'{"a":1}', b"[[]]"])
def test_so_many_arrays_and_objects_are_taken_and_one_more_is_not(one: bytes) -> None:
    each = one.count(b"[") + one.count(b"{")
    most = MOST_CONTAINERS // each - 1
    check_structure(b"[" + b",".join([one] * most) + b"]")
    with pytest.raises(InvalidRequest, match="50000 are accepted"):
        check_structure(b"[" + b",".join([one] * (most + 2)) + b"]")


def test_so_many_values_are_taken_and_more_are_not() -> None:
    check_structure(b"[" + b"1," * MOST_VALUES + b"1]")
    with pytest.raises(InvalidRequest, match="500000 are accepted"):
        check_structure(b"[" + b"1," * (MOST_VALUES + 1) + b"1]")


@pytest.mark.parametrize("text", ["[{" * 200_000, '"[,' * 200_000, "\\[," * 200_000, '\\"[' * 200_000, "," * 600_000])
def test_text_is_no_structure(text: str) -> None:
    check_structure(orjson.dumps({"messages": [{"role": "user", "content": text}]}))
    with pytest.raises(InvalidRequest):
        check_structure(orjson.dumps({"text": text, "x": [[]] * (MOST_CONTAINERS + 1)}))


@pytest.mark.parametrize("body", [b"", b'"', b'\\"', b"\xff" * 9, b'"' * 300_001 + b"[" * 300_000])
def test_what_is_no_json_is_left_to_the_parser_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        check_structure(body)
