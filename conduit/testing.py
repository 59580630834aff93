"""Fakes that ship with Conduit, because users need them too: a scripted provider; time and names that repeat."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import orjson

from conduit.core.errors import UpstreamError
from conduit.core.protocols import Answer, Call, Frame
from conduit.routing.system import CountingIds, StillClock

__all__ = ["CountingIds", "ScriptedProvider", "StillClock", "completion"]


def completion(
    text: str = "Hello.", *, input_tokens: int = 10, output_tokens: int = 20, identity: str = "chatcmpl-1"
) -> dict[str, Any]:
    """An answer as OpenAI's API gives it."""
    return {
        "id": identity,
        "object": "chat.completion",
        "model": "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": input_tokens, "completion_tokens": output_tokens},
    }


class ScriptedProvider:
    """Answers each call with the next line of its script: an answer's data, frames of a stream, or an error to raise.

    The last line repeats. `calls` keeps what was asked.
    """

    def __init__(self, script: Iterable[dict[str, Any] | list[Frame | UpstreamError] | UpstreamError] = ()) -> None:
        self._script = list(script) or [completion()]
        self.calls: list[Call] = []

    async def complete(self, call: Call) -> Answer:
        line = self._next(call)
        if not isinstance(line, dict):
            raise TypeError(f"the script has {line!r} where a whole answer was asked")
        return Answer(orjson.dumps(line), line)

    async def stream(self, call: Call) -> AsyncGenerator[Frame]:
        line = self._next(call)
        if not isinstance(line, list):
            raise TypeError(f"the script has {line!r} where a stream was asked")
        for frame in line:
            if isinstance(frame, UpstreamError):
                raise frame
            yield frame

    async def embed(self, call: Call) -> Answer:
        return await self.complete(call)

    async def close(self) -> None:
        """Nothing is held."""

    def _next(self, call: Call) -> dict[str, Any] | list[Frame | UpstreamError]:
        self.calls.append(call)
        line = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(line, UpstreamError):
            raise line
        return line
