"""The sandbox's little world: what its models are good at, and what a prompt asks of them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from conduit.routing.catalogue import Model, Price

KINDS = ("code", "math", "writing", "analysis", "chat", "other")
READ_CHARACTERS = 4000
"""A longer prompt is judged by its beginning."""


@dataclass(frozen=True, slots=True)
class Character:
    """One simulated model."""

    model: Model
    skill: Mapping[str, float]
    """Quality on an easy prompt of each kind."""
    fragility: float
    """Quality lost on the hardest prompts."""
    first_token_s: float
    tokens_per_s: float
    verbosity: float
    steadfast: frozenset[str] = frozenset()
    """Kinds in which hard prompts cost a fifth of that."""


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What one model makes of one prompt."""

    kind: str
    difficulty: float
    quality: float


def _character(
    name: str,
    price: tuple[float, float],
    skills: Sequence[float],
    *,
    fragility: float,
    pace: tuple[float, float],
    verbosity: float,
    context_window: int,
    abilities: str,
    steadfast: str = "",
) -> Character:
    return Character(
        model=Model(
            name=f"sandbox/{name}",
            provider="sandbox",
            price=Price(*price),
            context_window=context_window,
            abilities=frozenset(abilities.split()),
        ),
        skill=dict(zip(KINDS, skills, strict=True)),
        fragility=fragility,
        first_token_s=pace[0],
        tokens_per_s=pace[1],
        verbosity=verbosity,
        steadfast=frozenset(steadfast.split()),
    )


# fmt: off
CHARACTERS: Sequence[Character] = (
    #           name        USD per Mtok     code  math  writ. anal. chat  other
    _character("nano",     (0.05, 0.25),    (0.60, 0.50, 0.66, 0.55, 0.94, 0.70), fragility=0.45, pace=(0.12, 220),
               verbosity=0.7, context_window=32_000, abilities="json"),
    _character("small",    (0.20, 1.00),    (0.72, 0.64, 0.80, 0.70, 0.95, 0.80), fragility=0.35, pace=(0.20, 160),
               verbosity=0.9, context_window=128_000, abilities="json tools"),
    _character("coder",    (0.50, 2.50),    (0.94, 0.74, 0.62, 0.72, 0.90, 0.74), fragility=0.35, pace=(0.25, 140),
               verbosity=0.9, context_window=128_000, abilities="json tools", steadfast="code"),
    _character("large",    (2.00, 10.00),   (0.87, 0.90, 0.91, 0.91, 0.95, 0.90), fragility=0.12, pace=(0.45, 80),
               verbosity=1.0, context_window=200_000, abilities="json tools vision"),
    _character("frontier", (5.00, 25.00),   (0.95, 0.96, 0.95, 0.96, 0.96, 0.95), fragility=0.06, pace=(0.80, 60),
               verbosity=1.2, context_window=1_000_000, abilities="json tools vision"),
)
# fmt: on
QUALITY_SPREAD = 0.05
"""Standard deviation around what the table promises."""


def sandbox_models() -> tuple[Model, ...]:
    return tuple(character.model for character in CHARACTERS)


def appraise(character: Character, prompt: str, *, seed: int) -> Appraisal:
    """The same for the same model, prompt and seed, on any machine."""
    kind, difficulty = kind_of(prompt), difficulty_of(prompt)
    fragility = character.fragility * (0.2 if kind in character.steadfast else 1.0)
    expected = character.skill[kind] - fragility * difficulty**2
    luck = gauss(seed, character.model.name, "quality", prompt)
    quality = min(1.0, max(0.0, expected + QUALITY_SPREAD * luck))
    return Appraisal(kind, difficulty, round(quality, 3))


# ------------------------------------------------------------------ prompts

_SIGNS: Mapping[str, re.Pattern[str]] = {
    "code": re.compile(
        r"```|\b(code|coding|python|javascript|typescript|java|rust|golang|c\+\+|sql|html|css|bash|regexp?|function"
        r"|class|method|compil\w+|refactor\w*|debug\w*|bugs?|exception|stack ?trace|unit tests?|api"
        r"|endpoint|script|program)\b"
        r"|\bdef \w+\(|\bselect .{1,200} from\b|=>|\{\s*\n"
    ),
    "math": re.compile(
        r"\b(math\w*|prove|proof|theorem|lemma|integral|integrate|derivative|equations?|solve|probability|matrix"
        r"|matrices|algebra\w*|geometry|calculus|primes?|polynomial|modulo|eigen\w+|sum of|how many|percent\w*"
        r"|calculate|compute)\b"
        r"|\d\s*[-+*/^=×÷]\s*\d|[∫∑√≤≥]"
    ),
    "writing": re.compile(
        r"\b(poem|haiku|story|stories|essay|emails?|letter|blog|article|lyrics|slogan|tagline|speech|toast|novel"
        r"|paragraph|rewrite|rephrase|proofread|translate|headline|cover letter|tone|write me|draft)\b"
    ),
    "analysis": re.compile(
        r"\b(analy[sz]\w*|compare|comparison|contrast|evaluate|assess|pros and cons|trade-?offs?|implications?|strategy"
        r"|summari[sz]e|summary|explain why|root cause|risks?|recommendations?|critique|hypothes\w+|trends?|review)\b"
    ),
    "chat": re.compile(
        r"\b(hi|hello|hey|thanks?|thank you|good (morning|evening|night)|how are you|who are you|your name|joke|bored"
        r"|favou?rite|feeling|weekend|what's up|chat|nice to)\b"
    ),
}
_HARD = re.compile(
    r"\b(prove|proof|rigorous\w*|optimal\w*|complexity|concurren\w+|distributed|lock-free|thread-safe|np-hard|derive"
    r"|derivation|edge cases?|step by step|asymptotic\w*|olympiad|hard|difficult|advanced|in depth|in detail"
    r"|formal\w*|general case|eigen\w+|invariants?|worst case|multi-step|necessary and sufficient)\b"
)
_EASY = re.compile(r"\b(simple|simply|quick|quickly|short|brief|basic|easy|hi|hello|hey|thanks?|one sentence|joke)\b")


def kind_of(prompt: str) -> str:
    """The kind with the most signs; in a draw, the first of KINDS."""
    text = prompt[:READ_CHARACTERS].lower()
    signs = {kind: sum(1 for _ in pattern.finditer(text)) for kind, pattern in _SIGNS.items()}
    best = max(signs, key=signs.__getitem__)
    return best if signs[best] else "other"


def difficulty_of(prompt: str) -> float:
    """0..1: long prompts and prompts with hard words are harder."""
    text = prompt[:READ_CHARACTERS].lower()
    length = 0.08 * math.log2(1 + len(text.split()) / 4)
    hard = len(set(_HARD.findall(text)))
    easy = len(set(_EASY.findall(text)))
    jitter = 0.1 * (uniform("difficulty", prompt) - 0.5)
    return round(min(1.0, max(0.0, 0.05 + length + 0.22 * hard - 0.12 * easy + jitter)), 2)


# ------------------------------------------------------------------ chance that is always the same


def uniform(*key: object) -> float:
    """In (0, 1), from what `key` says and nothing else."""
    text = "\x1f".join(str(part) for part in key).encode(errors="replace")
    return (int.from_bytes(blake2b(text, digest_size=7).digest()) + 0.5) / 2**56


def gauss(*key: object) -> float:
    """Standard normal, by Box and Muller."""
    return math.sqrt(-2 * math.log(uniform("radius", *key))) * math.cos(2 * math.pi * uniform("angle", *key))
