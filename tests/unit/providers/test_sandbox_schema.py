"""Values that fit a schema, of each of its words."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.providers.sandbox_schema import CannotFit, instance

NUMBERS: list[tuple[dict[str, Any], float]] = [
    ({}, 1),
    ({"minimum": 5}, 5),
    ({"exclusiveMinimum": 5}, 6),
    ({"maximum": -3}, -3),
    ({"exclusiveMaximum": -3}, -4),
    ({"minimum": 5, "multipleOf": 4}, 8),
    ({"exclusiveMaximum": 0, "multipleOf": 7}, -7),
    ({"minimum": 3, "exclusiveMinimum": 3, "maximum": 4}, 4),
]


@pytest.mark.parametrize(("bounds", "expected"), NUMBERS)
def test_whole_numbers_keep_to_their_bounds(bounds: dict[str, Any], expected: float) -> None:
    made = instance({"type": "integer", **bounds})
    assert made == expected
    assert isinstance(made, int)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.booleans(), st.booleans())
def test_numbers_lie_between_their_bounds(low: float, width: float, above: bool, below: bool) -> None:
    high = low + width
    lower, upper = "exclusiveMinimum" if above else "minimum", "exclusiveMaximum" if below else "maximum"
    made: Any = instance({"type": "number", lower: low, upper: high})
    assert low < made if above else low <= made
    assert made < high if below else made <= high


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, "simulated"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"enum": ["x", "y"]}, "x"),
        ({"type": ["null", "string"]}, None),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": "string", "minLength": 11, "maxLength": 11}, "simulated.."),
        ({"type": "string", "maxLength": 3}, "sim"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "array"}, []),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, [None, None]),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, []),
        ({"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 2, "uniqueItems": True}, [1, 2]),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True}, [True, False]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "items": False}, [1, None]),
        ({"properties": {"a": {"type": "integer"}}, "required": ["b"]}, {"a": 1, "b": "simulated"}),
        ({"type": "object", "minProperties": 1}, {"property0": "simulated"}),
        ({"allOf": [{"required": ["a"]}, {"properties": {"a": {"minimum": 2}}}]}, {"a": 2}),
        ({"allOf": [{"minimum": 2}, {"minimum": 7, "maximum": 9}, {"maximum": 8}], "type": "integer"}, 7),
        ({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, 2),
        ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"const": 5}}}, 5),
    ],
)
def test_what_is_made(schema: object, expected: object) -> None:
    assert instance(schema) == expected


def test_a_property_that_leads_to_itself_ends_somewhere() -> None:
    made: Any = instance({"type": "object", "properties": {"child": {"$ref": "#"}, "n": {"const": 1}}})
    assert made["child"]["n"] == made["n"] == 1


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"enum": []},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "items": {}, "minItems": 10**9},
        {"type": "object", "minProperties": 10**9},
        {"$ref": "#"},
        {"$ref": "other.json"},
        {"type": "object", "properties": {"child": {"$ref": "#"}}, "required": ["child"]},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
    ],
)
def test_what_cannot_be_made_is_said(schema: object) -> None:
    with pytest.raises(CannotFit):
        instance(schema)


WORDS = [
    "type", "properties", "items", "required", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "minimum", "maximum",
    "multipleOf", "minItems", "maxItems", "uniqueItems", "prefixItems", "minLength", "format", "additionalProperties",
]  # fmt: skip
KINDS = ["object", "array", "string", "integer", "number", "#", "#/properties", "date"]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**400) | st.floats() | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)


@given(ANY)
def test_no_schema_whatever_fails_otherwise(schema: object) -> None:
    with suppress(CannotFit):
        instance(schema)
