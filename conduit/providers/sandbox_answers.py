"""What a sandbox model says: text of the right length, or JSON of the right shape."""

import json
import re
from collections.abc import Mapping, Sequence

from conduit.providers.sandbox_world import Appraisal, Character, uniform

NOTICE = "This is a simulated answer from the Conduit sandbox"
MAX_DEPTH = 8
"""Of an example for a JSON schema: schemas may refer to themselves."""

TYPICAL_TOKENS: Mapping[str, int] = {
    "code": 220, "math": 180, "writing": 240, "analysis": 220, "chat": 60, "other": 120,
}  # fmt: skip

SENTENCES: Mapping[str, Sequence[str]] = {
    "code": (
        "A real model would now show the function and its signature.",
        "It would name the edge cases: empty input, one element, and duplicates.",
        "A test for each of them would follow.",
        "The running time would be stated, with the reason for it.",
    ),
    "math": (
        "A real model would first restate what is given and what is sought.",
        "It would then reduce the problem to a case that is already known.",
        "Each step would say which rule it uses.",
        "The result would be checked with a small example.",
    ),
    "writing": (
        "A real model would open with an image that the reader can see.",
        "The middle would turn on one surprising detail.",
        "The tone would stay the same from line to line.",
        "The end would come back to the beginning.",
    ),
    "analysis": (
        "A real model would begin with the question behind the question.",
        "It would set the arguments for and against side by side.",
        "The evidence for each would be weighed, and gaps in it named.",
        "A recommendation would follow, with what could change it.",
    ),
    "chat": (
        "A real model would answer in a friendly sentence or two.",
        "It would then ask something in return.",
    ),
    "other": (
        "A real model would answer the question directly.",
        "It would add the one thing that the asker may not have thought of.",
        "Where it is unsure, it would say so.",
    ),
}


def pieces(text: str) -> list[str]:
    """The sandbox's tokens: a word with the space before it. Joined, they are the text."""
    return re.findall(r"\s*\S+", text)


def prose(character: Character, appraisal: Appraisal, *key: object) -> str:
    opening = (
        f"{NOTICE}; no language model was called. Model: {character.model.name}. "
        f"Kind of prompt: {appraisal.kind}. Difficulty: {appraisal.difficulty:.2f}."
    )
    wanted = TYPICAL_TOKENS[appraisal.kind] * character.verbosity * (0.6 + 0.8 * appraisal.difficulty)
    wanted *= 0.8 + 0.4 * uniform("length", character.model.name, *key)
    sentences = SENTENCES[appraisal.kind]
    said = [opening]
    count = len(pieces(opening))
    while count < wanted:
        said.append(sentences[(len(said) - 1) % len(sentences)])
        count += len(pieces(said[-1]))
    return " ".join(said)


def json_object(character: Character, appraisal: Appraisal, text: str) -> str:
    return json.dumps(
        {
            "notice": NOTICE,
            "model": character.model.name,
            "kind": appraisal.kind,
            "difficulty": appraisal.difficulty,
            "answer": text,
        }
    )


def example(schema: object, *, depth: int = 0) -> object:
    """A value of the JSON schema's type: enough for a caller's parser, no more."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return {} if depth == 0 else None
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for choices in ("enum", "examples", "anyOf", "oneOf"):
        if isinstance(schema.get(choices), list) and schema[choices]:
            first = schema[choices][0]
            return first if choices in {"enum", "examples"} else example(first, depth=depth + 1)
    return _of_type(schema, depth)


def _of_type(schema: Mapping[str, object], depth: int) -> object:
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties")
            named = properties.items() if isinstance(properties, dict) else ()
            return {name: example(inner, depth=depth + 1) for name, inner in named}
        case "array":
            return [example(schema["items"], depth=depth + 1)] if "items" in schema else []
        case "integer" | "number":
            minimum = schema.get("minimum", 1)
            return minimum if isinstance(minimum, int | float) else 1
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "simulated"
