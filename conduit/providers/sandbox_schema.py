"""A value that fits a JSON schema: the same each time, and as small as the schema allows."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, inf
from typing import Any

MAX_DEPTH = 32
MOST_VALUES = 1000
"""That are tried: a schema may branch at each level, and a hostile one does."""
MOST_LENGTH = 10_000
"""Of a string or an array that must be long."""

FORMATS: Mapping[str, str] = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "simulated@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
WORD = "simulated"
ROOM = ("maxLength", "maximum", "exclusiveMaximum", "maxItems")
"""Of two bounds the lesser holds; of all others the greater."""

Schema = Mapping[str, Any]
Bound = int | float


class CannotFit(Exception):
    """No value was found that fits."""


def instance(schema: object) -> object:
    """Raises CannotFit: no value fits, or none was found with reasonable effort. Not looked at: `not`, `if`, `contains`
    and patterns."""
    try:
        return _Making(schema).value(schema, 0)
    except (LookupError, TypeError, ValueError, ArithmeticError):  # what stands there is no schema
        raise CannotFit from None


class _Making:
    """One instance in the making, with what `$ref` refers to."""

    def __init__(self, root: object) -> None:
        self._root, self._left = root, MOST_VALUES

    def value(self, schema: object, depth: int) -> Any:
        self._left -= 1
        if schema is False or depth > MAX_DEPTH or self._left < 0:
            raise CannotFit
        if not isinstance(schema, dict):
            return WORD
        schema = self._flat(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list):
            return self._first(schema["enum"], lambda given: given)
        for choices in ("anyOf", "oneOf"):
            if isinstance(schema.get(choices), list):
                return self._one_of(schema.pop(choices), schema, depth)
        kinds = schema.get("type", _implied(schema))
        kinds = kinds if isinstance(kinds, list) else [kinds]
        return self._first(kinds, lambda kind: self._of_kind(kind, schema, depth))

    def _one_of(self, choices: Sequence[Any], rest: Schema, depth: int) -> Any:
        return self._first(_values_first(choices), lambda one: self.value(_both(rest, one), depth + 1))

    def _first(self, choices: Sequence[Any], make: Callable[[Any], Any]) -> Any:
        for choice in choices:
            try:
                return make(choice)
            except CannotFit:
                continue
        raise CannotFit

    def _flat(self, schema: Schema) -> dict[str, Any]:
        """With what it refers to, and all of `allOf`, beside its own words."""
        flat = dict(schema)
        for _ in range(MAX_DEPTH):
            parts = flat.pop("allOf", ())
            named = flat.pop("$ref", None)
            if named is not None:
                parts = [self._named(named), *parts]
            if not parts:
                return flat
            for part in parts:
                flat = _both(flat, part)
        raise CannotFit

    def _named(self, ref: object) -> object:
        """Within the schema itself: nothing is fetched."""
        found = self._root
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise CannotFit
        for part in ref[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise CannotFit
            found = found[key]
        return found

    def _of_kind(self, kind: object, schema: Schema, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean" | "null":
                return True if kind == "boolean" else None
        return _text(schema)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        """With all properties that are required, and of the others those that do not lead too deep."""
        properties, required = _mapping(schema.get("properties")), _names(schema.get("required"))
        made: dict[str, Any] = {}
        for name in dict.fromkeys((*properties, *required)):
            inner = properties.get(name, schema.get("additionalProperties", True))
            try:
                made[name] = self.value(inner, depth + 1)
            except CannotFit:
                if name in required:
                    raise
        for number in range(len(made), _count(schema, "minProperties")):
            made[f"property{number}"] = self.value(schema.get("additionalProperties", True), depth + 1)
        return made

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        """Of one item, where nothing else is asked for."""
        least, most = _count(schema, "minItems"), _count(schema, "maxItems", inf)
        first, rest = schema.get("prefixItems") or (), schema.get("items")
        wanted = min(max(least, len(first), 0 if rest is None else 1), most)
        made: list[Any] = []
        while len(made) < wanted:
            inner = first[len(made)] if len(made) < len(first) else rest
            try:
                made.append(self.value(inner, depth + 1))
            except CannotFit:
                break
        if schema.get("uniqueItems"):
            made = _apart(made, self._flat(_mapping(rest)), fixed=len(first))
        if len(made) < least:
            raise CannotFit
        return made


# ------------------------------------------------------------------ values without parts


def _text(schema: Schema) -> str:
    least, most = _count(schema, "minLength"), _count(schema, "maxLength", inf)
    said = FORMATS.get(str(schema.get("format")), WORD)
    long: str = said + "." * (least - len(said))
    return long[: int(min(most, MOST_LENGTH))]


def _number(schema: Schema, *, whole: bool) -> Bound:
    """1 where that fits, else what lies near a bound, or between the two."""
    step = _bound(schema, "multipleOf", 0)
    step = 1 if whole and 1 % (step or 1) == 0 else step
    low, high = _bound(schema, "minimum", -inf), _bound(schema, "maximum", inf)
    above, below = _bound(schema, "exclusiveMinimum", -inf), _bound(schema, "exclusiveMaximum", inf)
    ends = [end for end in (low, above, high, below) if abs(end) < inf]
    near = [1, *ends, *(end + way for end in ends for way in (step or 1, -step or -1))]
    near += [sum(ends) / len(ends)] if ends else []
    try:
        if step:
            near = [times * step for number in near for times in (ceil(number / step), floor(number / step))]
        found = next(number for number in near if low <= number <= high and above < number < below)
    except (StopIteration, ArithmeticError):
        raise CannotFit from None
    return int(found) if found % 1 == 0 else found


def _apart(items: Sequence[Any], schema: Schema, *, fixed: int) -> list[Any]:
    """As many as are made different, but for those `fixed` first: by an enumeration, or by a number."""
    given = schema.get("enum")
    apart: list[Any] = list(items[:fixed])
    for place, item in enumerate(items[fixed:]):
        others = given if isinstance(given, list) else [_other(item, place)]
        apart += [other for other in others if other not in apart][:1]
    return apart


def _other(item: Any, place: int) -> Any:
    match item:
        case bool():
            return item is (place == 0)
        case int() | float():
            return item + place
        case str():
            return f"{item}{place}" if place else item
    return item


# ------------------------------------------------------------------ schemas


def _both(one: Schema, other: object) -> dict[str, Any]:
    """What fits this fits both, as far as words can be put together."""
    if other is False:
        raise CannotFit
    both = dict(one)
    for name, given in _mapping(other).items():
        both[name] = _together(name, both[name], given) if name in both else given
    return both


def _together(name: str, one: Any, other: Any) -> Any:
    match name:
        case "properties":
            mine, theirs = _mapping(one), _mapping(other)
            shared = {each: {"allOf": [mine[each], theirs[each]]} for each in mine.keys() & theirs.keys()}
            return {**mine, **theirs, **shared}
        case "required":
            return list(dict.fromkeys((*_names(one), *_names(other))))
        case "enum" if isinstance(one, list) and isinstance(other, list):
            return [each for each in one if each in other]
        case "allOf" if isinstance(one, list) and isinstance(other, list):
            return [*one, *other]
    if isinstance(one, int | float) and isinstance(other, int | float):
        return min(one, other) if name in ROOM else max(one, other)
    return other


def _values_first(choices: Sequence[Any]) -> list[Any]:
    """A caller would rather see one than null."""
    return sorted(choices, key=lambda choice: _mapping(choice).get("type") == "null")


def _implied(schema: Schema) -> str:
    if "properties" in schema or "required" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "number" if any(name in schema for name in ("minimum", "maximum", "multipleOf")) else "string"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _bound(schema: Schema, name: str, unsaid: Bound) -> Bound:
    given = schema.get(name, unsaid)
    return given if isinstance(given, int | float) and not isinstance(given, bool) else unsaid


def _count(schema: Schema, name: str, unsaid: Bound = 0) -> Any:
    given = _bound(schema, name, unsaid)
    if given > MOST_LENGTH and name.startswith("min"):
        raise CannotFit
    return given if given == inf else max(int(given), 0)
