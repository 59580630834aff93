"""Text to context: a fixed map, known by its version, never refitted under beliefs that were formed with it.

x = [signature of hashed n-grams | lexical features | 1], each block of squared length about 1. Long texts are read at
their head and tail, where instructions and questions stand.
"""

import math

import numpy as np
from numpy.typing import NDArray

from conduit.core.ngrams import SIGNS, signature

Vector = NDArray[np.float64]

HEAD, TAIL = 6000, 2000

KINDS = 9
LOWER, UPPER, DIGIT, SPACE, NEWLINE, STOP, CODE_SIGN, MATH_SIGN, FOREIGN = range(KINDS)

MARKERS: dict[str, tuple[str, ...]] = {
    "code": ("```", "def ", "return ", "function"),
    "language": ("python", "java", "c++", "sql"),
    "formula": ("$", "\\(", "^2"),
    "mathematics": ("equation", "integer", "polynomial", "probability"),
    "amounts": ("how many", "how much", "%"),
    "choices": ("\na.", "\na)", "(a)", "option 1"),
    "many choices": ("\nf.", "\nf)", "(f)"),
    "answer with": ("answer:", "answer with", "correct option"),
    "blank": ("_", "complete the"),
    "judge": ("plausible", "following", "true or false"),
    "what": ("what ", "which "),
    "who, when, where": ("who ", "when ", "where "),
    "why, how": ("why ", "how do", "how can"),
    "write": ("write a", "story", "essay", "letter"),
    "make": ("write ", "create ", "implement"),
    "analyse": ("analy", "compare", "explain", "summar"),
    "translate": ("translat",),
    "passage": ("passage", "context:", "according to"),
    "talk": ("hello", "thanks", "please", " my "),
    "persona": ("you are ", "act as", "your task"),
    "format": ("json", "table", "format"),
    "steps": ("step by step", "step-by-step", "reason"),
    "medicine": ("patient", "year-old", "disease"),
    "law": ("court", "contract", " law"),
    "business": ("company", "market", "price", "cost"),
    "science": ("energy", "temperature", "acid", "force"),
    "society": ("war", "century", "government", "moral"),
    "logic": (" if ", "assert", "statement"),
}


class TextFeatures:
    """Stateless: equal texts give equal contexts in every process."""

    version = "hashed-32-lexical-42-1"
    blocks = (SIGNS, KINDS + 5 + len(MARKERS), 1)
    dimension = sum(blocks)

    def context(self, text: str) -> Vector:
        """(dimension,) x."""
        text = clipped(text)
        lowered = text.lower()
        raw = np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)
        folded = np.frombuffer(lowered.encode("utf-8", "replace"), dtype=np.uint8)
        return np.concatenate([signature(folded), shape(raw, text), present(lowered), [1.0]])

    def domain(self, text: str) -> str:
        """One of code, math, writing, analysis, chat, other: the first whose markers stand in the text."""
        lowered = clipped(text).lower()
        for domain, markers in DOMAINS.items():
            if sum(contains(lowered, MARKERS[name]) for name in markers) >= DOMAIN_NEEDS.get(domain, 1):
                return domain
        return "other"


DOMAINS: dict[str, tuple[str, ...]] = {
    "code": ("code", "language"),
    "math": ("formula", "mathematics", "amounts"),
    "writing": ("write", "translate"),
    "analysis": ("analyse", "passage", "choices", "why, how"),
    "chat": ("talk",),
}
DOMAIN_NEEDS = {"code": 2, "math": 2}
BLOCK_SCALE = 1.0 / math.sqrt(KINDS + 5 + len(MARKERS))


def clipped(text: str) -> str:
    """The head and the tail of a text too long to read."""
    return text if len(text) <= HEAD + TAIL else text[:HEAD] + "\n" + text[-TAIL:]


def kind(byte: int) -> int:
    """Which of the kinds of character a byte is."""
    c = chr(byte)
    if byte >= 128:
        return FOREIGN
    for k, members in (
        (UPPER, c.isupper()),
        (DIGIT, c.isdigit()),
        (NEWLINE, c == "\n"),
        (CODE_SIGN, c in "{}[]();=_<>#`|&@/"),
        (MATH_SIGN, c in "\\$^+-*%~"),
    ):
        if members:
            return k
    return SPACE if c.isspace() else STOP if not c.isalnum() else LOWER


KIND_OF = np.array([kind(byte) for byte in range(256)])
USUAL_SHARE = np.array([0.74, 0.035, 0.025, 0.15, 0.01, 0.03, 0.012, 0.01, 0.004])


def shape(raw: NDArray[np.uint8], text: str) -> Vector:
    """(KINDS + 5,) length, shares of kinds of characters against what is usual, and questions."""
    n = len(raw)
    counts = np.bincount(KIND_OF[raw], minlength=KINDS)
    shares = (np.sqrt(counts / max(n, 1)) - np.sqrt(USUAL_SHARE)) * 8.0
    length = (math.log1p(n) - 5.5) / 1.2
    word = (n / (1.0 + counts[SPACE] + counts[NEWLINE]) - 6.0) / 1.5
    scalars = (
        length,
        max(min(length * length - 1.0, 3.0), -3.0),
        word,
        2.0 * ("?" in text) - 1.0,
        2.0 * text.rstrip().endswith("?") - 1.0,
    )
    return np.asarray(np.concatenate([shares, scalars]).clip(-3.0, 3.0) * BLOCK_SCALE)


def contains(lowered: str, markers: tuple[str, ...]) -> bool:
    """Whether any of the markers stands in the text."""
    return any(map(lowered.__contains__, markers))


def present(lowered: str) -> Vector:
    """(len(MARKERS),) which groups of markers stand in the text, about a share of a fifth."""
    return np.array([2.0 if contains(lowered, markers) else -0.5 for markers in MARKERS.values()]) * BLOCK_SCALE
