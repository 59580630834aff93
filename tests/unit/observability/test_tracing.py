"""Spans by hand: who is sampled, whose child each is, and what a library's user can decorate."""

import asyncio
from random import Random

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from conduit.core.events import Arrived, Began, Degraded, Ended, Served
from conduit.observability.tracing.otlp import encoded_span
from conduit.observability.tracing.spans import SPAN, Span, Tracer, step, traced, traceparent
from conduit.testing import StillClock

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NO_TRACE = f"00-{'0' * 32}-b7ad6b7169203331-01"
NO_SPAN = f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01"
SERVED = Served("GET", "/x", 200, None, 0.1, None)


class Seen:
    """A tracer, and what ended."""

    def __init__(self, share: float = 1.0) -> None:
        self.spans: list[Span] = []
        self.clock = StillClock(5.0)
        self.tracer = Tracer(clock=self.clock, random=Random(1), share=share, export=self.spans.append)

    def request(self, traceparent: str = "", tracestate: str = "") -> None:
        self.tracer(Arrived("GET", "/x", "req_1", traceparent, tracestate))
        self.tracer(SERVED)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.1, 150, 250), (1.0, 2000, 2000)])
def test_a_share_of_the_traces_is_sampled(share: float, low: int, high: int) -> None:
    """Of those that nobody began before."""
    seen = Seen(share)
    for _ in range(2000):
        seen.request()
    assert low <= len(seen.spans) <= high
    assert len({span.trace.id for span in seen.spans}) == len(seen.spans)


def test_the_caller_decides_about_a_trace_of_theirs() -> None:
    """In either direction."""
    none, everything = Seen(0.0), Seen(1.0)
    none.request(PARENT, "v=1")
    everything.request(PARENT[:-1] + "0")
    (span,) = none.spans
    assert (span.trace.id.hex(), span.parent_id, span.trace.state) == (
        PARENT[3:35],
        bytes.fromhex(PARENT[36:52]),
        "v=1",
    )
    assert everything.spans == []


@pytest.mark.parametrize(
    "header",
    ["", "x", PARENT[:-1], PARENT.upper(), "ff" + PARENT[2:], PARENT + "\n", NO_TRACE, NO_SPAN],
)
def test_a_header_that_is_none_begins_a_new_trace(header: str) -> None:
    """Without a tracestate that would belong to another."""
    seen = Seen()
    seen.request(header, "v=1")
    (span,) = seen.spans
    assert span.parent_id is None
    assert span.trace.id.hex() != PARENT[3:35]
    assert span.trace.state == ""


def test_steps_nest_and_a_failure_is_its_steps() -> None:
    """And what degrades is told of the whole request."""
    seen = Seen()
    seen.tracer(Arrived("GET", "/x", "req_1"))
    for event in (
        Began("route"),
        Began("choose"),
        Ended("choose", "ValueError"),
        Ended("route"),
        Degraded("ledger", "x"),
    ):
        seen.tracer(event)
    seen.tracer(SERVED)
    choose, route, root = seen.spans
    assert (choose.parent_id, route.parent_id) == (route.id, root.id)
    assert [span.failed for span in seen.spans] == [True, False, False]
    assert choose.attributes == {"error.type": "ValueError"}
    assert root.attributes["conduit.degraded"] == "ledger"


async def test_a_users_own_functions_become_spans() -> None:
    """Plain and asynchronous, one within the other, at the same time without mixing; failures are marked and raised."""
    seen = Seen()

    @traced("inner")
    def inner() -> str:
        return traceparent(SPAN.get())  # type: ignore[arg-type]

    @traced("outer")
    async def outer() -> str:
        await asyncio.sleep(0)
        return inner()

    @traced("bad")
    def bad() -> None:
        raise KeyError("secret")

    seen.tracer(Arrived("GET", "/x", "req_1"))
    await asyncio.gather(outer(), outer())
    with pytest.raises(KeyError):
        bad()
    seen.tracer(SERVED)
    *inside, failing, root = seen.spans
    outers = {span.id: span for span in inside if span.name == "outer"}
    assert {span.parent_id for span in inside if span.name == "inner"} == set(outers)
    assert {span.parent_id for span in outers.values()} == {root.id}
    assert (failing.failed, failing.attributes) == (True, {"error.type": "KeyError"})


def test_outside_of_a_traced_request_nothing_is_added() -> None:
    """The function runs as it stands."""
    SPAN.set(None)
    with step("alone") as span:
        assert span is None
    seen = Seen(0.0)
    seen.tracer(Arrived("GET", "/x", "req_1"))
    with step("unsampled") as span:
        assert span is None
    assert seen.spans == []


def test_the_wire_is_read_by_opentelemetrys_own_classes() -> None:
    """All kinds of values, of any size."""
    seen = Seen()
    seen.tracer(Arrived("GET", "/x", "req_1", PARENT, "v=1"))
    values = {"s": "é" * 300, "b": True, "i": -5, "big": 2**40, "f": 0.5, "l": ["a", ""], "empty": ""}
    SPAN.get().attributes = dict(values)  # type: ignore[union-attr]
    seen.clock.at_s = 6.5
    seen.tracer(Served("GET", "/x", 503, "away", 0.1, None, "key_1"))
    (span,) = ScopeSpans.FromString(encoded_span(seen.spans[0])).spans
    found = {pair.key: pair.value for pair in span.attributes}
    assert found["s"].string_value == values["s"]
    assert (found["b"].bool_value, found["i"].int_value, found["big"].int_value) == (True, -5, 2**40)
    assert found["f"].double_value == 0.5
    assert [each.string_value for each in found["l"].array_value.values] == ["a", ""]
    assert found["empty"].WhichOneof("value") == "string_value"
    assert (span.name, span.kind, span.status.code) == ("GET /x", 2, 2)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    assert span.start_time_unix_nano == 5_000_000_000
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (PARENT[3:35], PARENT[36:52], "v=1")
