"""Spans: made by hand from what the gateway announces, so that a request that is not sampled costs nothing."""

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from random import Random
from typing import Any, ParamSpec, TypeVar, cast

from conduit.core.events import Arrived, Began, Decided, Degraded, Ended, Event, FeedbackGiven, Served, Settled
from conduit.observability.current import CURRENT
from conduit.observability.tracing import names as n
from conduit.routing.protocols import Clock

P = ParamSpec("P")
R = TypeVar("R")
Value = Any
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
MOST_STATE = 512
MOST_OF_A_PATH = 200
SAMPLED = 1


class SpanKind(IntEnum):
    """As OTLP numbers them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


@dataclass(slots=True)
class Trace:
    """What the spans of one request share."""

    id: bytes
    state: str
    """The caller's tracestate, handed on as it came."""
    tracer: "Tracer"
    unix_s: float
    """Add it to the clock's elapsed seconds: times within a trace never run backwards."""


@dataclass(slots=True)
class Span:
    trace: Trace
    id: bytes
    parent_id: bytes | None
    outer: "Span | None"
    """The one to which the task returns when this one ends; of a parent in another process there is none."""
    name: str
    kind: SpanKind
    started_ns: int
    ended_ns: int = 0
    attributes: dict[str, Value] = field(default_factory=dict)
    failed: bool = False


SPAN: ContextVar[Span | None] = ContextVar("conduit_span", default=None)
"""In which the running task is; None in a request that is not sampled."""


class Tracer:
    """A listener. `export` takes what has ended and must be quick; `share` of the traces that nobody began before us is
    sampled, of others what their beginner decided."""

    def __init__(self, *, clock: Clock, random: Random, share: float, export: Callable[[Span], None]) -> None:
        self._clock, self._random, self._export = clock, random, export
        self._share = share
        self._ears: Mapping[type, Callable[[Span, Any], None]] = {
            Began: lambda _, e: self._begin_step(e),
            Ended: self._end_step,
            Decided: _decided,
            Settled: _settled,
            FeedbackGiven: _judged,
            Degraded: _degraded,
            Served: lambda span, e: self._served(_outermost(span), e),
        }

    # -------------------------------------------------------------- listening

    def __call__(self, event: Event, /) -> None:
        if type(event) is Arrived:
            self._arrived(event)
            return
        span = SPAN.get()
        if span is not None:
            self._ears[type(event)](span, event)

    @property
    def hears(self) -> tuple[type, ...]:
        return (Arrived, *self._ears)

    def _arrived(self, event: Arrived) -> None:
        parent = TRACEPARENT.fullmatch(event.traceparent) if event.traceparent else None
        sampled = self._random.random() < self._share if parent is None else bool(int(parent[3], 16) & SAMPLED)
        if not sampled:
            SPAN.set(None)
            return
        unix_s = self._clock.now_s() - self._clock.elapsed_s()
        if parent is None:
            trace, parent_id = Trace(self._random.randbytes(16), "", self, unix_s), None
        else:
            trace = Trace(bytes.fromhex(parent[1]), event.tracestate[:MOST_STATE], self, unix_s)
            parent_id = bytes.fromhex(parent[2])
        identity, began_ns = self._random.randbytes(8), self._now_ns(trace)
        span = Span(trace, identity, parent_id, None, event.method, SpanKind.SERVER, began_ns)
        span.attributes = {n.REQUEST_ID: event.request_id, n.PATH: event.path[:MOST_OF_A_PATH]}
        SPAN.set(span)
        current = CURRENT.get()
        if current is not None:
            current.trace_id = trace.id.hex()

    def _served(self, span: Span, event: Served) -> None:
        span.name = f"{event.method} {event.route}"
        attributes = span.attributes
        attributes[n.METHOD], attributes[n.ROUTE], attributes[n.STATUS] = event.method, event.route, event.status
        if event.key_id is not None:
            span.attributes[n.KEY] = event.key_id
        if event.code is not None:
            span.attributes[n.ERROR] = event.code
        span.failed = event.status >= 500
        self.end(span)

    def _begin_step(self, event: Began) -> None:
        self.begin(n.step(event.step))

    def _end_step(self, span: Span, event: Ended) -> None:
        if event.failed is not None:
            span.failed = True
            span.attributes[n.ERROR] = event.failed
        self.end(span)

    # -------------------------------------------------------------- spans

    def begin(self, name: str, kind: SpanKind = SpanKind.INTERNAL, *, enter: bool = True) -> Span | None:
        """A child of the one in which the task is, and what the task is in from now on if it is to `enter`. None in a
        request that is not sampled."""
        outer = SPAN.get()
        if outer is None:
            return None
        trace = outer.trace
        span = Span(trace, self._random.randbytes(8), outer.id, outer, name, kind, self._now_ns(trace))
        if enter:
            SPAN.set(span)
        return span

    def end(self, span: Span) -> None:
        """Once."""
        span.ended_ns = self._now_ns(span.trace)
        if SPAN.get() is span and span.outer is not None:
            SPAN.set(span.outer)
        self._export(span)

    def _now_ns(self, trace: Trace) -> int:
        return int((trace.unix_s + self._clock.elapsed_s()) * 1e9)


def traceparent(span: Span) -> str:
    return f"00-{span.trace.id.hex()}-{span.id.hex()}-01"


def _outermost(span: Span) -> Span:
    while span.outer is not None:
        span = span.outer
    return span


def _decided(span: Span, event: Decided) -> None:
    decision = event.decision
    span.attributes |= {
        n.DECISION: decision.id,
        n.MODEL: decision.model,
        n.DOMAIN: decision.domain,
        n.POLICY: decision.policy,
        n.ROUTED: decision.routed,
        n.PROPENSITY: decision.propensity,
        n.CANDIDATES: len(decision.candidates),
    }
    _outermost(span).attributes[n.DECISION] = decision.id


def _judged(span: Span, event: FeedbackGiven) -> None:
    span.attributes[n.DECISION] = event.feedback.decision_id
    span.attributes[n.QUALITY] = event.feedback.quality
    span.attributes[n.SOURCE] = event.source


def _degraded(span: Span, event: Degraded) -> None:
    _outermost(span).attributes[n.DEGRADED] = event.what


def _settled(span: Span, event: Settled) -> None:
    outcome, top = event.outcome, _outermost(span).attributes
    top |= {n.MODEL: outcome.model, n.OUTCOME: str(outcome.status), n.ATTEMPTS: len(outcome.attempts)}
    if outcome.cost_usd is not None:
        top[n.COST] = outcome.cost_usd


# ------------------------------------------------------------------ for users of the library


@contextmanager
def step(name: str, attributes: Mapping[str, Value] | None = None) -> Iterator[Span | None]:
    """A span around what is done within, as a child of the one around it; None where nothing is traced."""
    outer = SPAN.get()
    span = None if outer is None else outer.trace.tracer.begin(name)
    if span is None:
        yield None
        return
    span.attributes.update(attributes or {})
    try:
        yield span
    except BaseException as error:
        span.failed = True
        span.attributes[n.ERROR] = type(error).__name__
        raise
    finally:
        span.trace.tracer.end(span)


def traced(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function, asynchronous or not: a span each time that it runs within a traced request. Arguments and
    results are not looked at.

    >>> @traced("rerank")
    ... async def rerank(candidates): ...
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def waiting(*args: P.args, **kwargs: P.kwargs) -> Any:
                with step(name):
                    return await cast("Awaitable[Any]", function(*args, **kwargs))

            return cast("Callable[P, R]", waiting)

        @functools.wraps(function)
        def plain(*args: P.args, **kwargs: P.kwargs) -> R:
            with step(name):
                return function(*args, **kwargs)

        return plain

    return decorate
