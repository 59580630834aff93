"""What a fake upstream may be told to say."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

EVENT_STREAM = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
Ending = Literal["whole", "stall", "cut"]


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client: tuple[str, int] | None
    """Address and port: the same for requests on one connection."""

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


@dataclass(frozen=True)
class Reply:
    """What is put on the wire: pieces, and then an end, a stall, or a cut connection."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    interval_s: float = 0.0
    ending: Ending = "whole"
    silent: bool = False
    """Stalls before the status line."""


Script = Callable[[Received], Reply]


def says(
    content: str = "Hello there.",
    *,
    prompt_tokens: int = 7,
    completion_tokens: int = 3,
    finish_reason: str = "stop",
    extra: Mapping[str, object] | None = None,
) -> Script:
    """Answers whole, or word by word to whoever asks for a stream; `extra` stands in the body, or in the last chunk."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    usage["total_tokens"] = prompt_tokens + completion_tokens

    def play(received: Received) -> Reply:
        asked = received.json
        head = {"id": "chatcmpl-fake", "created": 1_700_000_000, "model": asked.get("model")}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": content}
            choice = {"index": 0, "message": message, "finish_reason": finish_reason}
            body = {**head, "object": "chat.completion", "choices": [choice], "usage": usage, **(extra or {})}
            return Reply([orjson.dumps(body)])
        deltas: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in content.replace(" ", "\0 ").split("\0")]
        chunks = [chunk(delta, more=head) for delta in deltas]
        chunks.append(chunk({}, finish_reason, more={**head, **(extra or {})}))
        if (asked.get("stream_options") or {}).get("include_usage"):
            chunks.append(sse({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
        return Reply([*chunks, DONE], content_type=EVENT_STREAM)

    return play


def embeds(vector: Sequence[float] = (0.6, 0.8)) -> Script:
    def play(received: Received) -> Reply:
        entry = {"object": "embedding", "index": 0, "embedding": list(vector)}
        usage = {"prompt_tokens": 2, "total_tokens": 2}
        return Reply(
            [orjson.dumps({"object": "list", "data": [entry], "model": received.json["model"], "usage": usage})]
        )

    return play


def refuses(
    status: int, body: bytes = b'{"error":{"message":"no"}}', headers: Mapping[str, str] | None = None
) -> Script:
    return replies(Reply([body], status=status, headers=headers or {}))


def streams(*pieces: bytes, ending: Ending = "whole", interval_s: float = 0.0) -> Script:
    """Exactly these bytes, each in its own write."""
    return replies(Reply(pieces, content_type=EVENT_STREAM, ending=ending, interval_s=interval_s))


def hangs() -> Script:
    return replies(Reply(silent=True, ending="stall"))


def replies(reply: Reply) -> Script:
    return lambda _: reply


def sse(data: Mapping[str, object]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def chunk(
    delta: Mapping[str, object],
    finish_reason: str | None = None,
    *,
    index: int = 0,
    more: Mapping[str, object] | None = None,
) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return sse({"object": "chat.completion.chunk", "choices": [choice], **(more or {})})


def judges(score: object = 8, *, verdict: Callable[[str], str] | None = None, **more: Any) -> Script:
    """Gives this score to whatever it is asked to judge, in the form that it is asked for; or says what `verdict` makes
    of the question's mark."""

    def play(received: Received) -> Reply:
        mark = mark_of(received)
        whole = orjson.dumps({"mark": mark, "reason": "as planned", "score": score}).decode()
        return says(verdict(mark) if verdict else whole, **more)(received)

    return play


def mark_of(received: Received) -> str:
    """The one word that frames what is judged."""
    found = re.match(r"<(\w+) request>\n", received.json["messages"][-1]["content"])
    assert found, "this is no question to a judge"
    return found[1]
