"""Spans around what the gateway calls: each wraps one seam, and changes nothing of what passes through."""

from asyncio import CancelledError
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from conduit.bandits.policy import Vector
from conduit.core.errors import UpstreamError
from conduit.core.protocols import Answer, Call, Frame, Provider
from conduit.observability.tracing import names as n
from conduit.observability.tracing.spans import SPAN, Span, SpanKind, Tracer, traceparent
from conduit.routing.protocols import Features

T = TypeVar("T")


class TracedFeatures:
    """A span each time that a text is looked at."""

    def __init__(self, inner: Features, tracer: Tracer) -> None:
        self._inner, self._tracer = inner, tracer
        self.version, self.dimension, self.blocks = inner.version, inner.dimension, inner.blocks
        self.domain = inner.domain

    def context(self, text: str) -> Vector:
        span = self._tracer.begin(n.SPAN_FEATURES, enter=False)
        try:
            return self._inner.context(text)
        finally:
            if span is not None:
                span.attributes[n.FEATURES] = self.version
                self._tracer.end(span)


class TracedProvider:
    """A span of each call, into which the caller's trace continues at the provider."""

    def __init__(self, name: str, inner: Provider, tracer: Tracer) -> None:
        self._name, self._inner, self._tracer = name, inner, tracer

    async def complete(self, call: Call) -> Answer:
        return await self._whole(n.CHAT, call, self._inner.complete)

    async def embed(self, call: Call) -> Answer:
        return await self._whole(n.EMBEDDINGS, call, self._inner.embed)

    def stream(self, call: Call) -> AsyncGenerator[Frame]:
        span = self._begin(n.CHAT, call)
        return self._inner.stream(call) if span is None else self._streamed(call, span)

    async def close(self) -> None:
        await self._inner.close()

    async def _whole(self, operation: str, call: Call, ask: Callable[[Call], Awaitable[Answer]]) -> Answer:
        span = self._begin(operation, call)
        if span is None:
            return await ask(call)
        try:
            answer = await ask(_continued(call, span))
            _read(span, answer.data)
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            self._tracer.end(span)
        return answer

    async def _streamed(self, call: Call, span: Span) -> AsyncGenerator[Frame]:
        span.attributes[n.REQUEST_STREAM] = True
        frames = self._inner.stream(_continued(call, span))
        try:
            async for frame in frames:
                if frame.data is not None:
                    _read(span, frame.data)
                yield frame
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            self._tracer.end(span)
            await frames.aclose()

    def _begin(self, operation: str, call: Call) -> Span | None:
        span = self._tracer.begin(f"{operation} {call.model.name}", SpanKind.CLIENT, enter=False)
        if span is not None:
            named = {n.OPERATION: operation, n.PROVIDER: self._name, n.REQUEST_MODEL: call.model.upstream_name}
            knobs = {n.KNOBS[knob]: call.body[knob] for knob in n.KNOBS if _is_number(call.body.get(knob))}
            span.attributes = {**named, n.MODEL: call.model.name, **knobs}
        return span


def _continued(call: Call, span: Span) -> Call:
    """The call with our place in the trace, in that of the caller's."""
    headers = {**call.headers, "traceparent": traceparent(span)}
    return Call(call.model, call.body, call.timeouts, headers)


def _read(span: Span, data: Mapping[str, object]) -> None:
    """Of an answer, or of one frame of it: never its text."""
    for name, attribute in (("id", n.RESPONSE_ID), ("model", n.RESPONSE_MODEL)):
        value = data.get(name)
        if isinstance(value, str) and attribute not in span.attributes:
            span.attributes[attribute] = value[:200]
    usage = data.get("usage")
    if isinstance(usage, dict):
        counts = {n.INPUT_TOKENS: usage.get("prompt_tokens"), n.OUTPUT_TOKENS: usage.get("completion_tokens")}
        span.attributes |= {name: count for name, count in counts.items() if isinstance(count, int)}
    choices = data.get("choices")
    said = [c.get("finish_reason") for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    reasons = [reason[:40] for reason in said if isinstance(reason, str)]
    if reasons:
        span.attributes[n.FINISH_REASONS] = reasons


def _failed(span: Span, error: BaseException) -> None:
    """In stable words: an upstream error's are ours, of any other exception only the type is."""
    if isinstance(error, CancelledError | GeneratorExit):
        span.attributes[n.ERROR] = "cancelled"  # the caller went away, and nobody failed
        return
    span.failed = True
    span.attributes[n.ERROR] = str(error) if isinstance(error, UpstreamError) else type(error).__name__


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Traced:
    """Stands in for an object, with a span of each call of the methods that are named; `command` is what they send."""

    def __init__(self, inner: object, tracer: Tracer, system: str, methods: frozenset[str], command: str = "") -> None:
        self._inner, self._tracer, self._system = inner, tracer, system
        self._methods, self._command = methods, command

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._around(name, found) if name in self._methods and SPAN.get() is not None else found

    def _around(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            operation = self._command or name
            span = self._tracer.begin(f"{self._system} {operation}", SpanKind.CLIENT, enter=False)
            if span is None:
                return method(*args, **kwargs)
            span.attributes = {n.DB_SYSTEM: self._system, n.DB_OPERATION: operation}
            if self._command:
                span.attributes[n.DB_PROCEDURE] = name
            result = method(*args, **kwargs)
            if hasattr(result, "add_done_callback"):
                result.add_done_callback(lambda done: self._ended(span, None if done.cancelled() else done.exception()))
                return result
            return self._awaited(span, result)

        return call

    async def _awaited(self, span: Span, result: Awaitable[Any]) -> Any:
        try:
            value = await result
        except BaseException as error:
            self._ended(span, error)
            raise
        self._ended(span, None)
        return value

    def _ended(self, span: Span, error: BaseException | None) -> None:
        if error is not None:
            _failed(span, error)
        self._tracer.end(span)


LEDGER = frozenset({"append", "find", "recent", "taught", "before", "totals"})
"""What requests wait for; the follower's reading is nobody's request."""


def traced_store(inner: T, tracer: Tracer, *, system: str, methods: frozenset[str] = LEDGER) -> T:
    """`inner` with a span of each of its asynchronous `methods`. Whoever needs more of it finds that there too."""
    return cast("T", _Traced(inner, tracer, system, methods))


def traced_scripts(inner: T, tracer: Tracer) -> T:
    """A window whose methods are scripts that Redis runs."""
    return cast("T", _Traced(inner, tracer, "redis", frozenset({"enter", "hold", "leave"}), "EVALSHA"))
