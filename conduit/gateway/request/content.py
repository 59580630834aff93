"""Whether a piece of an answer says anything: until one does, another model may still answer in its place."""

from collections.abc import AsyncGenerator, Mapping

from conduit.core.errors import UpstreamError
from conduit.core.protocols import Frame

ROLE = "role"
MOST_HELD = 1000
"""Events without content at the beginning of a stream; no server that means well sends more."""


def has_content(data: Mapping[str, object] | None) -> bool:
    """Of one event of a chat stream. A comment, a role, an empty text and counts of tokens say nothing; the end of a
    choice does: then the answer was an empty one."""
    choices = data.get("choices") if data else None
    return any(map(_speaks, choices)) if isinstance(choices, list) else False


def _speaks(choice: object) -> bool:
    if not isinstance(choice, dict):
        return False
    said = choice.get("delta") or choice.get("message")
    generated = isinstance(said, dict) and any(value for name, value in said.items() if name != ROLE)
    return generated or bool(choice.get("finish_reason") or choice.get("text"))


async def up_to_content(frames: AsyncGenerator[Frame]) -> list[Frame]:
    """The frames of a stream up to the first that says something, all of them if none does. Comments before it only
    said that there is something to wait for, and are dropped."""
    held: list[Frame] = []
    async for frame in frames:
        if frame.data is not None:
            held.append(frame)
        if has_content(frame.data):
            break
        if len(held) > MOST_HELD:
            raise UpstreamError("garbage")
    return held
