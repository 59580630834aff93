"""Spans and numbers as OTLP has them: protocol buffers, written by hand (docs/decisions/0030).

Field numbers are those of opentelemetry-proto 1.x, which is stable; the tests read what is written here with its own
classes.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from conduit.observability.metrics.metrics import Metric
from conduit.observability.metrics.samples import Series
from conduit.observability.tracing.names import UNIQUE
from conduit.observability.tracing.spans import Span

Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]
SCOPE = "conduit"
CUMULATIVE = 2
STATUS_ERROR = 2

# ------------------------------------------------------------------ the wire


def varint(number: int) -> bytes:
    """Of a number that is not negative."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A message, a string or bytes."""
    size = len(content)
    if number < 16 and size < 128:
        return bytes((number << 3 | 2, size)) + content
    return varint(number << 3 | 2) + varint(size) + content


def text(number: int, content: str) -> bytes:
    return field(number, content.encode("utf-8", "replace"))


def integer(number: int, value: int) -> bytes:
    """int32, int64, enum, bool."""
    return varint(number << 3) + varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def fixed64(number: int, value: int) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return text(1, value)
    if isinstance(value, float):
        return double(4, value)
    if isinstance(value, int):
        return integer(2 if isinstance(value, bool) else 3, value)
    return field(5, b"".join(field(1, text(1, each)) for each in value))


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return text(1, name)


def _pair(name: str, value: Value) -> bytes:
    """KeyValue, with its length in front of it."""
    content = _key(name) + field(2, _value(value))
    return varint(len(content)) + content


_kept_pair = lru_cache(maxsize=2048, typed=True)(_pair)
"""Most values come again and again."""


def attributes(number: int, pairs: Attributes) -> bytes:
    tag = varint(number << 3 | 2)
    return b"".join(
        [
            tag + (_pair if name in UNIQUE or type(value) in UNKEPT else _kept_pair)(name, value)
            for name, value in pairs.items()
        ]
    )


# ------------------------------------------------------------------ traces

UNKEPT = frozenset({float, list, tuple})
TIMES = struct.Struct("<BQBQ")


@lru_cache(maxsize=1024)
def _named(name: str, kind: int) -> bytes:
    return text(5, name) + integer(6, kind)


def encoded_span(span: Span) -> bytes:
    """One Span, as a field of its ScopeSpans."""
    trace = span.trace
    parts = [b"\x0a\x10", trace.id, b"\x12\x08", span.id]
    if trace.state:
        parts.append(text(3, trace.state))
    if span.parent_id is not None:
        parts += (b"\x22\x08", span.parent_id)
    parts += (
        _named(span.name, span.kind),
        TIMES.pack(7 << 3 | 1, span.started_ns, 8 << 3 | 1, span.ended_ns),
        attributes(9, span.attributes),
    )
    if span.failed:
        parts.append(field(15, integer(3, STATUS_ERROR)))
    return field(2, b"".join(parts))


def traces(resource: Attributes, spans: Iterable[bytes]) -> bytes:
    """ExportTraceServiceRequest."""
    scope = field(1, text(1, SCOPE))
    return field(1, field(1, attributes(1, resource)) + field(2, scope + b"".join(spans)))


# ------------------------------------------------------------------ metrics


def metrics(
    resource: Attributes, numbers: Iterable[tuple[Series, Sequence[float]]], *, since_ns: int, now_ns: int
) -> bytes:
    """ExportMetricsServiceRequest: sums since the process began."""
    families: dict[Metric, list[tuple[tuple[str, ...], Sequence[float]]]] = {}
    for (metric, labels), values in numbers:
        families.setdefault(metric, []).append((labels, values))
    times = fixed64(2, since_ns) + fixed64(3, now_ns)
    scope = field(1, text(1, SCOPE))
    found = b"".join(field(2, _metric(metric, series, times)) for metric, series in families.items())
    return field(1, field(1, attributes(1, resource)) + field(2, scope + found))


def _metric(metric: Metric, series: list[tuple[tuple[str, ...], Sequence[float]]], times: bytes) -> bytes:
    head = text(1, metric.name) + text(2, metric.help) + text(3, metric.unit)
    points = b"".join(_points(metric, series, times))
    match metric.kind:
        case "gauge":
            return head + field(5, points)
        case "counter":
            return head + field(7, points + integer(2, CUMULATIVE) + integer(3, 1))
        case _:
            return head + field(9, points + integer(2, CUMULATIVE))


def _points(metric: Metric, series: list[tuple[tuple[str, ...], Sequence[float]]], times: bytes) -> Iterator[bytes]:
    for labels, values in series:
        pairs = dict(zip(metric.labels, labels, strict=True))
        if metric.kind in {"gauge", "counter"}:
            yield field(1, times + double(4, values[0]) + attributes(7, pairs))
        else:
            yield field(1, times + _distribution(metric, values) + attributes(9, pairs))


def _distribution(metric: Metric, values: Sequence[float]) -> bytes:
    """Of a histogram; a summary is one of a single bucket."""
    counts = [int(c) for c in (values[:-1] if metric.kind == "histogram" else values[1:])]
    total = values[-1] if metric.kind == "histogram" else values[0]
    packed = struct.pack(f"<{len(counts)}Q", *counts)
    bounds = struct.pack(f"<{len(metric.buckets)}d", *metric.buckets)
    return fixed64(4, sum(counts)) + double(5, total) + field(6, packed) + (field(7, bounds) if bounds else b"")
