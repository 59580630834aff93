"""Text to context: a fixed map, known by its version, never refitted under beliefs that were formed with it.

x = [signature of hashed words | lexical features | 1], each block of squared length about 1. Long texts are read at
their head and tail, where instructions and questions stand. Everything works on bytes, of which the ASCII letters are
folded to lower case: that is five times faster than text, and other alphabets keep their words.
"""

import math

import numpy as np
from numpy.typing import NDArray

from conduit.routing.protocols import Features
from conduit.routing.signature import SIGNS, signature

Vector = NDArray[np.float64]

HEAD, TAIL = 6000, 2000
NO_FEATURES = "none"
"""The version of a context that nobody looked a text over for: that of an embedding."""

KINDS = 9
LOWER, UPPER, DIGIT, SPACE, NEWLINE, STOP, CODE_SIGN, MATH_SIGN, FOREIGN = range(KINDS)

MARKERS: dict[str, tuple[str, ...]] = {
    "code": ("def", "return", "function", "functions", "~```"),
    "language": ("python", "java", "javascript", "sql", "rust", "~c++"),
    "formula": ("~$", "~\\(", "~^2"),
    "mathematics": ("equation", "equations", "integer", "integers", "polynomial", "probability", "triangle"),
    "amounts": ("how many", "how much", "~%"),
    "choices": ("option 1", "~\na.", "~\na)", "~(a)"),
    "many choices": ("~\nf.", "~\nf)", "~(f)"),
    "answer with": ("answer with", "correct option", "~answer:"),
    "blank": ("complete the", "~_"),
    "judge": ("plausible", "following", "true or false"),
    "what": ("what", "which"),
    "who, when, where": ("who", "whom", "when", "where"),
    "why, how": ("why", "how do", "how does", "how can"),
    "write": ("story", "essay", "letter", "poem", "write a", "write an"),
    "make": ("write", "create", "implement", "generate"),
    "analyse": ("analyze", "analyse", "analysis", "compare", "explain", "summarize", "summarise", "summary"),
    "translate": ("translate", "translation", "translated"),
    "passage": ("passage", "according to", "~context:"),
    "talk": ("hello", "hi", "thanks", "please", "my"),
    "persona": ("you are", "act as", "your task"),
    "format": ("json", "table", "format", "formatted"),
    "steps": ("step by step", "reason", "reasoning"),
    "medicine": ("patient", "patients", "year old", "disease", "symptoms"),
    "law": ("court", "contract", "law", "laws", "legal"),
    "business": ("company", "market", "price", "cost", "costs"),
    "science": ("energy", "temperature", "acid", "force", "mass"),
    "society": ("war", "century", "government", "moral", "morally"),
    "logic": ("if", "assert", "statement", "statements"),
}
"""Words and phrases that stand in a text whole; after a ~, signs that stand in it anywhere, spaces and all."""

DOMAINS: dict[str, tuple[str, ...]] = {
    "code": ("code", "language"),
    "math": ("formula", "mathematics", "amounts"),
    "writing": ("write", "translate"),
    "analysis": ("analyse", "passage", "choices", "why, how"),
    "chat": ("talk",),
}
DOMAIN_NEEDS = {"code": 2, "math": 2}
PRESENT, ABSENT = 2.0, -0.5
BLOCK_SCALE = 1.0 / math.sqrt(KINDS + 5 + len(MARKERS))


class TextFeatures:
    """Stateless: equal texts give equal contexts in every process."""

    version = "hashed-32-lexical-42-2"
    blocks = (SIGNS, KINDS + 5 + len(MARKERS), 1)
    dimension = sum(blocks)

    def context(self, text: str) -> Vector:
        """(dimension,) x."""
        raw = clipped(text).encode("utf-8", "replace")
        words = raw.translate(WORDS_ONLY).split()
        return np.array([*signature(words), *shape(raw, len(words)), *present(raw, words), 1.0])

    def domain(self, x: Vector) -> str:
        """One of code, math, writing, analysis, chat, other: the first whose markers the text of `x` shows."""
        shown = {name for name, value in zip(MARKERS, x[-1 - len(MARKERS) : -1].tolist(), strict=True) if value > 0.0}
        for domain, markers in DOMAINS.items() if shown else ():
            if len(shown.intersection(markers)) >= DOMAIN_NEEDS.get(domain, 1):
                return domain
        return "other"


def kept_context(features: Features, text: str) -> Vector:
    """(dimension,) rounded to what the ledger keeps (float32), so that what was served is what is replayed."""
    return features.context(text).astype(np.float32).astype(np.float64)


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


KIND_OF = bytes(kind(byte) for byte in range(256))
USUAL_SHARE = (0.74, 0.035, 0.025, 0.15, 0.01, 0.03, 0.012, 0.01, 0.004)
USUAL_ROOT = tuple(math.sqrt(share) for share in USUAL_SHARE)

LOWER_CASE = bytes(byte + 32 if KIND_OF[byte] == UPPER else byte for byte in range(256))
WORDS_ONLY = bytes(
    LOWER_CASE[byte] if KIND_OF[byte] in {LOWER, UPPER, DIGIT, FOREIGN} else ord(" ") for byte in range(256)
)


def shape(raw: bytes, words: int) -> list[float]:
    """(KINDS + 5,) shares of kinds of characters against what is usual, length, and questions."""
    n = max(len(raw), 1)
    kinds = raw.translate(KIND_OF)
    shares = [(math.sqrt(kinds.count(k) / n) - root) * 8.0 for k, root in enumerate(USUAL_ROOT)]
    length = (math.log1p(len(raw)) - 5.5) / 1.2
    scalars = (
        length,
        length * length - 1.0,
        (n / (1.0 + words) - 6.0) / 1.5,
        1.0 if b"?" in raw else -1.0,
        1.0 if raw.rstrip().endswith(b"?") else -1.0,
    )
    return [min(max(value, -3.0), 3.0) * BLOCK_SCALE for value in (*shares, *scalars)]


def _markers(kind: str) -> dict[bytes, int]:
    """Marker -> the place of its group."""
    return {
        marker.removeprefix("~").encode(): place
        for place, group in enumerate(MARKERS.values())
        for marker in group
        if ("sign" if marker[0] == "~" else "phrase" if " " in marker else "word") == kind
    }


WORDS, PHRASES, SIGNALS = _markers("word"), _markers("phrase"), _markers("sign")


def present(raw: bytes, words: list[bytes]) -> list[float]:
    """(len(MARKERS),) which groups of markers stand in the text; about a fifth do."""
    found = [ABSENT * BLOCK_SCALE] * len(MARKERS)
    for word in WORDS.keys() & set(words):
        found[WORDS[word]] = PRESENT * BLOCK_SCALE
    joined, lowered = b" %b " % b" ".join(words), raw.translate(LOWER_CASE)
    for text, markers in ((joined, PHRASES), (lowered, SIGNALS)):
        for marker, place in markers.items():
            if marker in text:
                found[place] = PRESENT * BLOCK_SCALE
    return found
