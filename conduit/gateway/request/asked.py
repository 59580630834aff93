"""What a chat asks of a model, read off its body: how many tokens go in, and which abilities it takes."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from conduit.routing.query import CHARACTERS_PER_TOKEN, weigh

Body = Mapping[str, Any]
SCHEMAS = ("tools", "functions", "prediction", "documents")
"""Beside the messages, what a model reads."""
PLAIN = frozenset({"role", "content", "name", "tool_call_id", "id"})
"""Of a message, what is its content, or no more than a label."""
KINDS: Mapping[object, str] = {
    "image_url": "vision",
    "image": "vision",
    "input_image": "vision",
    "video_url": "vision",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio": "audio",
    "file": "files",
    "input_file": "files",
    "document": "files",
}
"""What a part of a message is -> the ability that it takes."""
BESIDE_TEXT = frozenset(KINDS.values())

PICTURE = 85 + 170 * 8
"""Tokens of a picture by OpenAI's rule of tiles, of which none has more than eight; its size is not looked at."""
SMALL_PICTURE = 85
"""One that is asked for with low detail."""
PAGE = 1500
"""Tokens of a document's page, as text and as a picture; a file that is elsewhere is taken to have one."""
FILE_PER_TOKEN = 20
"""Characters in base64: a PDF of 40 kB a page."""
SOUND_PER_TOKEN = 330
"""Characters in base64: 32 tokens a second of 64 kbit/s."""


class Asked(NamedTuple):
    text: str
    """The last thing that the user said, else all of it."""
    weight: int
    """In characters of which CHARACTERS_PER_TOKEN make a token."""
    needs: frozenset[str]


def read(body: Body, messages: Iterable[Body]) -> Asked:
    texts, said, weight, needs = [], "", 0, set[str]()
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            text = content
        else:
            text, beside = _parts(content or (), needs)
            weight += beside
        weight += weigh(text)
        texts.append(text)
        if message["role"] == "user" and text.strip():
            said = text
        if len(message) > 2:
            weight += sum(_weigh_json(value) for name, value in message.items() if value and name not in PLAIN)
    return Asked(said or "\n".join(texts), weight + _schemas(body), frozenset(needs | _needs(body)))


def _schemas(body: Body) -> int:
    weight = sum(_weigh_json(body[name]) for name in SCHEMAS if body.get(name))
    shape = body.get("response_format")
    return weight + (_weigh_json(shape) if isinstance(shape, dict) and len(shape) > 1 else 0)


def _needs(body: Body) -> set[str]:
    shape, heard = body.get("response_format"), body.get("modalities")
    wanted = {
        "json": isinstance(shape, dict) and shape.get("type") in ("json_object", "json_schema"),
        "tools": bool(body.get("tools") or body.get("functions")),
        "audio": bool(body.get("audio")) or (isinstance(heard, list) and "audio" in heard),
    }
    return {ability for ability, wants in wanted.items() if wants}


def _parts(content: Iterable[object], needs: set[str]) -> tuple[str, int]:
    """Their text, and the weight of what is beside it; what they need is added to `needs`."""
    texts, weight = [], 0
    for part in content:
        if not isinstance(part, dict):
            continue
        ability = KINDS.get(kind) if isinstance(kind := part.get("type"), str) else None
        if ability is not None:
            needs.add(ability)
            weight += CHARACTERS_PER_TOKEN * _tokens(part, kind, ability)
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            weight += _weigh_json(part)
    return "\n".join(texts), weight


def _tokens(part: Body, kind: object, ability: str) -> int:
    inner = part.get(kind) if isinstance(kind, str) else None
    inner = inner if isinstance(inner, dict) else part
    if ability == "vision":
        return SMALL_PICTURE if inner.get("detail") == "low" else PICTURE
    held = max((len(value) for value in inner.values() if isinstance(value, str)), default=0)
    return held // SOUND_PER_TOKEN + 1 if ability == "audio" else max(held // FILE_PER_TOKEN, PAGE)


def _weigh_json(value: object) -> int:
    """As the provider gets it, which is about what the model reads."""
    return weigh(value if isinstance(value, str) else orjson.dumps(value).decode())
