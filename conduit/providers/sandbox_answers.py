"""What a sandbox model says: text of the right length, or JSON of the right shape."""

import json
import re
from collections.abc import Mapping, Sequence

from conduit.providers.sandbox_world import Appraisal, Character, uniform

MOST_OF_A_RESULT = 200
NOTICE = "This is a simulated answer from the Conduit sandbox"

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
    return re.findall(r"\s*\S+|\s+\Z", text)


def cut(text: str, *, stop: Sequence[str], most: int | None) -> tuple[list[str], str]:
    """The pieces before the first of the `stop` sequences, `most` of them at most, and why it ended."""
    ends = [text.find(sequence) for sequence in stop if sequence in text]
    said = pieces(text[: min(ends)] if ends else text)
    return (said, "stop") if most is None or len(said) <= most else (said[:most], "length")


def heard(results: Sequence[str]) -> str:
    """What is said when tools have answered."""
    told = "; ".join(" ".join(result.split())[:MOST_OF_A_RESULT] for result in results)
    return f"The tools answered: {told or 'nothing'}. "


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
