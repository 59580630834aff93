"""An OpenAI-shaped server that answers at once: what is left of a request's time is the gateway's."""

from typing import Any

import orjson

ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 200}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 200, "total_tokens": 400},
    }
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
EVENT_STREAM = [(b"content-type", b"text/event-stream")]
PIECES = 20
"""Words of a stream, each in an event of its own; the end, the usage and [DONE] follow."""


def _event(choices: list[dict[str, object]], **more: object) -> bytes:
    return (
        b"data: "
        + orjson.dumps({"id": "chatcmpl-stub", "object": "chat.completion.chunk", "choices": choices, **more})
        + b"\n\n"
    )


STREAM = [
    *(_event([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]) for _ in range(PIECES)),
    _event([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    _event([], usage={"prompt_tokens": 200, "completion_tokens": PIECES, "total_tokens": 200 + PIECES}),
    b"data: [DONE]\n\n",
]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`uvicorn benchmarks.stub:app`."""
    body, more = b"", scope["type"] == "http"
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if b'"stream":true' in body:
        await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
        for piece in STREAM:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
