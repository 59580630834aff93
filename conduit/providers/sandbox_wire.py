"""OpenAI's response shapes, filled with what the sandbox says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from conduit.core.protocols import Frame
from conduit.providers.json_text import encode
from conduit.providers.sandbox_world import uniform

PIECES_PER_DELTA = 8
CHARACTERS_PER_TOKEN = 4

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str

    @property
    def tokens(self) -> int:
        return -(-len(self.arguments) // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the n answers: a text in pieces, or calls of tools."""

    said: Sequence[str]
    calls: Sequence[ToolCall]
    finish_reason: str
    top_logprobs: int | None = None

    @property
    def tokens(self) -> int:
        return len(self.said) + sum(call.tokens for call in self.calls)

    def logprobs(self, said: Sequence[str]) -> Json | None:
        """Of these pieces, where they were asked for."""
        if self.top_logprobs is None or self.calls:
            return None
        return {"content": [probable(piece, self.top_logprobs) for piece in said], "refusal": None}


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
        {
            "index": index,
            "message": _message(choice),
            "logprobs": choice.logprobs(choice.said),
            "finish_reason": choice.finish_reason,
        }
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
        for tokens, delta, logprobs in _deltas(choice):
            yield tokens, _frame({**head, "choices": [_part(index, delta, None, logprobs)]})
        last = _part(index, {}, choice.finish_reason, None)
        yield 0, _frame({**head, "choices": [last], "conduit_sandbox": dict(reply.sandbox)})
    usage = _frame({**head, "choices": [], "usage": reply.usage})
    yield 0, usage if usage_asked else Frame(b"", usage.data)


def _head(reply: Reply, kind: str) -> Json:
    return {
        "id": reply.id,
        "object": kind,
        "created": reply.created,
        "model": reply.model,
        "system_fingerprint": "fp_sandbox",
    }


def _message(choice: Choice) -> Json:
    if not choice.calls:
        return {"role": "assistant", "content": "".join(choice.said), "refusal": None}
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [_call(call) for call in choice.calls]}


def _call(tool: ToolCall) -> Json:
    return {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}


def _deltas(choice: Choice) -> Iterator[tuple[int, Json, Json | None]]:
    """How many tokens each says, and how probable they were."""
    yield 0, {"role": "assistant", "content": None if choice.calls else "", "refusal": None}, None
    for start in range(0, len(choice.said), PIECES_PER_DELTA):
        part = choice.said[start : start + PIECES_PER_DELTA]
        yield len(part), {"content": "".join(part)}, choice.logprobs(part)
    for index, call in enumerate(choice.calls):
        named = {"index": index, **_call(ToolCall(call.id, call.name, ""))}
        yield 0, {"tool_calls": [named]}, None
        size = PIECES_PER_DELTA * CHARACTERS_PER_TOKEN
        for start in range(0, len(call.arguments), size):
            part_of_it = call.arguments[start : start + size]
            tokens = -(-len(part_of_it) // CHARACTERS_PER_TOKEN)
            yield tokens, {"tool_calls": [{"index": index, "function": {"arguments": part_of_it}}]}, None


def probable(piece: str, top: int) -> Json:
    """A token with its log probability, and the `top` alternatives, itself the first: always the same for a piece."""
    first = -0.05 - 0.5 * uniform("logprob", piece)
    others = [(f"{piece}{'~' * place}", first - 1.5 * place) for place in range(top)]
    return {**_token(piece, first), "top_logprobs": [_token(*other) for other in others]}


def _token(piece: str, logprob: float) -> Json:
    return {"token": piece, "logprob": logprob, "bytes": list(piece.encode(errors="replace"))}


def _part(index: int, delta: Json, finish_reason: str | None, logprobs: Json | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _frame(data: Json) -> Frame:
    return Frame(b"data: " + encode(data) + b"\n\n", data)
