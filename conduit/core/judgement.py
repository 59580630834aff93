"""What was said of one answer -> quality and weight: which signals there are, who gives them, how much each counts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from conduit.routing.decision import Feedback, Lesson
from conduit.routing.errors import InvalidRequest

Source = Literal["caller", "judge", "retry"]
Signals = Mapping[str, object]

DUELS = "duels"
"""Under this name an answer's signals keep the comparisons that it took part in, by the other's decision."""
DUEL_WEIGHT = 0.5
"""On either side: a comparison tells of a difference, and each model is half of it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of judging an answer. `weight` is how much it tells, where a score tells 1."""

    source: Source
    weight: float
    quality: Callable[[Any], float | None]
    """None where the value says nothing."""


def _stars(stars: float) -> float:
    return (float(stars) - 1.0) / 4.0


def _asked_again(again: object) -> float | None:
    return 0.0 if again else None


SCORE = "quality_score"
KINDS: Mapping[str, Kind] = {
    SCORE: Kind("caller", 1.0, float),
    "user_rating": Kind("caller", 1.0, _stars),
    "task_success": Kind("caller", 1.0, float),
    "thumbs": Kind("caller", 0.7, lambda thumbs: 1.0 if thumbs == "up" else 0.0),
    "met_expectations": Kind("caller", 0.7, float),
    "regenerated": Kind("caller", 0.3, _asked_again),
    "judge_score": Kind("judge", 0.5, float),
    "retried": Kind("retry", 0.15, _asked_again),
}
"""See docs/decisions/0016 for the weights. What is not here (comments, a preference) is the caller's, and no rating."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """0..1 what an answer was worth, and 0..1 how much that tells."""

    quality: float
    weight: float


def judgement(signals: Signals) -> Judgement | None:
    """All ratings of one answer as one: the mean of their qualities by weight, with the weight of the heaviest, for
    one call counts once. A score counts alone among its caller's. None where nothing rates."""
    read = {name: (kind, kind.quality(signals[name])) for name, kind in KINDS.items() if signals.get(name) is not None}
    ratings = [
        (kind.weight, quality)
        for name, (kind, quality) in read.items()
        if quality is not None and (name == SCORE or SCORE not in read or kind.source != "caller")
    ]
    return Judgement(_mean(ratings), max(weight for weight, _ in ratings)) if ratings else None


def _mean(ratings: list[tuple[float, float]]) -> float:
    """Of qualities, by weight."""
    mean = sum(weight * quality for weight, quality in ratings) / sum(weight for weight, _ in ratings)
    return min(max(mean, 0.0), 1.0)


def lessons_of(signals: Signals, model: str | None) -> tuple[Lesson, ...]:
    """What `signals` teach of `model`: one rating, and one side of each comparison with another model. Comparisons
    share what the rating leaves of 1, so that nobody makes an answer count twice."""
    if model is None:
        return ()
    rated = judgement(signals)
    duels = [duel for duel in duels_of(signals).values() if duel["rival"] not in {None, model}]
    left = 1.0 - (rated.weight if rated else 0.0)
    share = min(DUEL_WEIGHT, left / max(len(duels), 1))
    ratings = [Lesson(rated.quality, rated.weight)] if rated else []
    compared = [Lesson(d["quality"], share, d["rival"], d["preference"]) for d in duels if share > 0]
    return (*ratings, *compared)


def said_weight(feedback: Feedback) -> float:
    """With which a feedback would teach if there were no cap."""
    return sum(lesson.weight for lesson in lessons_of(feedback.signals, feedback.model))


def quality_of(signals: Signals, lessons: tuple[Lesson, ...]) -> float:
    """0..1 of all that was said; 1/2 where nothing was."""
    if lessons:
        return _mean([(lesson.weight, lesson.quality) for lesson in lessons])
    rated = judgement(signals)
    return rated.quality if rated else 0.5


def duels_of(signals: Signals) -> dict[str, dict[str, Any]]:
    """The comparisons that an answer took part in, copied."""
    duels: Any = signals.get(DUELS) or {}
    return dict(duels)


# ------------------------------------------------------------------ who said what


def said_by(source: Source, signals: Signals) -> dict[str, object]:
    """Of all signals, those of one source."""
    return {name: value for name, value in signals.items() if _source(name) == source}


def replaced(source: Source, earlier: Signals, said: Signals) -> dict[str, object]:
    """What a source says takes the place of what it said before; the others' signals stay."""
    return {**{name: value for name, value in earlier.items() if _source(name) != source}, **said}


def check(source: Source, said: Signals) -> None:
    """Raises InvalidRequest where nothing in `said` tells quality, or somebody speaks for another."""
    foreign = [name for name in said if _source(name) != source]
    if foreign:
        raise InvalidRequest(f"{foreign[0]}: not for the {source} to say", param=foreign[0])
    if said.get("tie") is not None and said.get("preferred_over") is None:
        raise InvalidRequest("tie: says of which answer only with preferred_over", param="tie")
    if judgement(said) is None and said.get("preferred_over") is None:
        names = ", ".join([name for name, kind in KINDS.items() if kind.source == source] + ["preferred_over"])
        raise InvalidRequest(f"nothing here tells quality; give at least one of {names}", param=SCORE)


def _source(name: str) -> str:
    return KINDS[name].source if name in KINDS else "rival" if name == DUELS else "caller"
