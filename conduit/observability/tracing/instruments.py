"""Spans around what the gateway calls: each wraps one seam, and changes nothing of what passes through."""

from asyncio import CancelledError, Future
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from conduit.bandits.policy import Vector
from conduit.core.errors import UpstreamError
from conduit.core.protocols import Answer, Call, Frame, Provider
from conduit.observability.tracing import names as n
from conduit.observability.tracing.spans import SPAN, Span, SpanKind, Tracer, traceparent
from conduit.routing.protocols import Features


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


def trace_calls(
    owner: object,
    tracer: Tracer,
    system: str,
    *methods: Callable[..., Awaitable[Any]],
    within: str = "",
    command: str = "",
) -> None:
    """From now on each call of these asynchronous methods of `owner` is a span, where something is being traced: the
    follower's reading is no request's. `within` stands before their names; `command` is what they all send."""
    for method in methods:
        setattr(owner, method.__name__, _Call(method, tracer, system, within=within, command=command))


class _Call:
    """Stands in for one method."""

    def __init__(
        self, method: Callable[..., Awaitable[Any]], tracer: Tracer, system: str, *, within: str, command: str
    ) -> None:
        operation = command or f"{within}{method.__name__}"
        self._method, self._tracer, self._name = method, tracer, f"{system} {operation}"
        self._attributes: dict[str, Any] = {n.DB_SYSTEM: system, n.DB_OPERATION: operation}
        if command:
            self._attributes[n.DB_PROCEDURE] = method.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        span = None if SPAN.get() is None else self._tracer.begin(self._name, SpanKind.CLIENT, enter=False)
        result = self._method(*args, **kwargs)
        if span is None:
            return result
        span.attributes = dict(self._attributes)
        if isinstance(result, Future):
            result.add_done_callback(lambda done: self._ended(span, None if done.cancelled() else done.exception()))
            return result
        return self._awaited(span, result)

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
