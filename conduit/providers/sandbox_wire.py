"""OpenAI's response shapes, filled with what the sandbox says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from conduit.core.protocols import Frame
from conduit.providers.json_text import encode
from conduit.providers.sandbox_answers import pieces

PIECES_PER_DELTA = 8

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the n answers: a text, or a tool call."""

    text: str
    tool: ToolCall | None
    tokens: int
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is said to one request."""

    id: str
    created: int
    model: str
    choices: tuple[Choice, ...]
    prompt_tokens: int
    sandbox: Mapping[str, object]

    @property
    def tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    @property
    def usage(self) -> Json:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
        }


def completion(reply: Reply) -> Json:
    choices = [
        {"index": index, "message": _message(choice), "logprobs": None, "finish_reason": choice.finish_reason}
        for index, choice in enumerate(reply.choices)
    ]
    return {
        **_head(reply, "chat.completion"),
        "choices": choices,
        "usage": reply.usage,
        "conduit_sandbox": dict(reply.sandbox),
    }


def chunks(reply: Reply, *, usage_asked: bool) -> Iterator[tuple[int, Frame]]:
    """The frames of a stream, each with how many tokens it says."""
    head = _head(reply, "chat.completion.chunk")
    if usage_asked:
        head["usage"] = None
    for index, choice in enumerate(reply.choices):
        for tokens, delta in _deltas(choice):
            yield tokens, _frame({**head, "choices": [_part(index, delta, None)]})
        last = _part(index, {}, choice.finish_reason)
        yield 0, _frame({**head, "choices": [last], "conduit_sandbox": dict(reply.sandbox)})
    usage = _frame({**head, "choices": [], "usage": reply.usage})
    yield 0, usage if usage_asked else Frame(b"", usage.data)


def _head(reply: Reply, kind: str) -> Json:
    return {"id": reply.id, "object": kind, "created": reply.created, "model": reply.model}


def _message(choice: Choice) -> Json:
    if choice.tool is None:
        return {"role": "assistant", "content": choice.text, "refusal": None}
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [_call(choice.tool)]}


def _call(tool: ToolCall) -> Json:
    return {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}


def _deltas(choice: Choice) -> Iterator[tuple[int, Json]]:
    if choice.tool is None:
        yield 0, {"role": "assistant", "content": "", "refusal": None}
        said = pieces(choice.text)
        for start in range(0, len(said), PIECES_PER_DELTA):
            part = said[start : start + PIECES_PER_DELTA]
            yield len(part), {"content": "".join(part)}
        return
    named = {"index": 0, **_call(ToolCall(choice.tool.id, choice.tool.name, ""))}
    yield 0, {"role": "assistant", "content": None, "tool_calls": [named]}
    arguments = {"index": 0, "function": {"arguments": choice.tool.arguments}}
    yield choice.tokens, {"tool_calls": [arguments]}


def _part(index: int, delta: Json, finish_reason: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _frame(data: Json) -> Frame:
    return Frame(b"data: " + encode(data) + b"\n\n", data)
