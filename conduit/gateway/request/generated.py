"""How much a model has generated, read off its answer: everything counts, whatever the field is called."""

from collections.abc import Iterator, Mapping

from conduit.routing.query import CHARACTERS_PER_TOKEN, weigh

BESIDE = frozenset(
    {
        "role", "id", "type", "index", "object", "name", "format", "status", "finish_reason", "expires_at", "created",
        "signature", "data", "encrypted_content", "annotations", "citations", "logprobs", "top_logprobs", "usage",
    }
)  # fmt: skip
"""Fields of an answer that hold nothing that the model has written: names, seals, sound, what a search has found."""
PICTURE = 1290 * CHARACTERS_PER_TOKEN
"""What a picture in an answer weighs: its address, or its bytes in base64, says nothing of its tokens."""
DEEPEST = 12


def weight_of(choices: object) -> int:
    """In characters of which CHARACTERS_PER_TOKEN make a token. `choices` as in a chat's answer, whole or a frame."""
    total = 0
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            total += _weight(choice.get("delta") or choice.get("message") or {"text": choice.get("text")})
    return total


def _weight(part: object) -> int:
    if not isinstance(part, Mapping):
        return 0
    if len(part) == 1 and isinstance(text := part.get("content"), str):  # nearly every frame
        return weigh(text)
    texts = [value for name, value in part.items() if value and name not in BESIDE]
    if len(texts) == 1 and isinstance(texts[0], str):
        return weigh(texts[0])
    # Some servers say the same in two fields: `reasoning` and `reasoning_content`, or `reasoning_details`.
    return sum(PICTURE if text.startswith("data:") else weigh(text) for text in set(_strings(part, DEEPEST)))


def _strings(value: object, deep: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and deep:
        for name, inner in value.items():
            if inner and (name not in BESIDE or (name == "name" and "arguments" in value)):
                yield from _strings(inner, deep - 1)
    elif isinstance(value, list) and deep:
        for inner in value:
            yield from _strings(inner, deep - 1)
