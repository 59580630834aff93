"""What an entry of the ledger may hold, whoever wrote it: judged when it is imported, and before it is folded."""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import TypeVar

import numpy as np

from conduit.bandits.statistics import MAX_WEIGHT
from conduit.core.decision import Attempt, Candidate, Decision, Feedback, Lesson, Observation, Outcome
from conduit.core.features import NO_FEATURES, TextFeatures
from conduit.core.judgement import duels_of, judgement, lessons_of
from conduit.core.storage import ROUNDING, Whole

LATEST_S = 1e11
"""Unix seconds, some three thousand years on: beyond it a time is a mistake of units, or worse."""
MOST_LENGTH = 1e2
"""Of a context. Those of our features are about sqrt(3)."""
FARTHEST_S = 1e15
"""Of a time that is folded, from 1970: what is beyond was never a time."""
MOST_TOKENS, MOST_SECONDS, MOST_USD = 1e12, 1e9, 1e9
MOST_IMPORTED_WEIGHT = 10.0
"""One answer teaches with 1 at most, and what failed several times with so much."""
MOST_NAME, MOST_WORDS = 200, 4000
MOST_CANDIDATES = 5000
T = TypeVar("T")
DIMENSIONS = {TextFeatures.version: TextFeatures.dimension, NO_FEATURES: 0}


class Invalid(ValueError):
    """An entry that cannot be right. `field` is one of a few names; the message is for who wrote it."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(f"{field}: {said}")
        self.field, self.said = field, said


# ------------------------------------------------------------------ one observation


def check_observation(o: Observation, dimension: int, *, most_weight: float = MAX_WEIGHT) -> None:
    """Whether beliefs can be made of it. Raises Invalid."""
    check_context(o.context, dimension)
    check_number("time_s", o.time_s, -FARTHEST_S, FARTHEST_S)
    check_number("weight", o.weight, -most_weight, most_weight)
    for name, value, least, most in (
        ("quality", o.quality, 0.0, 1.0),
        ("output_tokens", o.output_tokens, 0.0, MOST_TOKENS),
        ("latency_s", o.latency_s, 0.0, MOST_SECONDS),
        ("cost_usd", o.cost_usd, 0.0, MOST_USD),
        ("preference", o.preference, -1.0, 1.0),
    ):
        if value is not None:
            check_number(name, value, least, most)
    _text("model", o.model)
    _text_or_none("rival", o.rival)


def check_context(context: object, dimension: int) -> None:
    """Raises Invalid."""
    if not isinstance(context, np.ndarray) or context.shape != (dimension,):
        found = context.shape[0] if isinstance(context, np.ndarray) and context.ndim == 1 else "other"
        raise Invalid("context", f"has {found} numbers, and its features have {dimension}")
    if not float(context @ context) <= MOST_LENGTH**2:  # NaN is not, either
        raise Invalid("context", f"its numbers must be finite, and its length at most {MOST_LENGTH:g}")


# ------------------------------------------------------------------ all of one decision


class Wholes:
    """Judges what comes with one file: a name once, and contexts of one length for each version of features."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._dimensions = dict(DIMENSIONS)

    def checked(self, whole: Whole) -> Whole:
        """The same. Raises Invalid."""
        decision = whole.decision
        _check_decision(decision)
        if decision.id in self._names:
            raise Invalid("decision.id", "stands in this file already")
        dimension = self._dimensions.get(decision.features, len(decision.context))
        _within("decision", check_context, decision.context, dimension)
        if whole.outcome is not None:
            _check_outcome(whole.outcome)
        for given in whole.feedback:
            _check_feedback(given)
        for observation in whole.observations:
            _within("observations", _check_imported, observation, dimension)
        _check_retractions(whole.observations)
        self._names.add(decision.id)
        self._dimensions[decision.features] = dimension
        return whole


def _within(entry: str, check: Callable[[T, int], None], value: T, dimension: int) -> None:
    """Raises Invalid whose field is named within its entry."""
    try:
        check(value, dimension)
    except Invalid as error:
        raise Invalid(f"{entry}.{error.field}", error.said) from None


def _check_imported(o: Observation, dimension: int) -> None:
    check_observation(o, dimension, most_weight=MOST_IMPORTED_WEIGHT)
    check_number("time_s", o.time_s, 0.0, LATEST_S)


def _check_retractions(observations: Sequence[Observation]) -> None:
    """What takes back stands after what it takes back, and takes no more than that."""
    weights: dict[tuple[object, ...], float] = {}
    for o in observations:
        said = (o.model, o.quality, o.output_tokens, o.latency_s, o.cost_usd, o.rival, o.preference)
        weights[said] = weights.get(said, 0.0) + o.weight
        if weights[said] < -ROUNDING:
            raise Invalid("observations.weight", "takes back more than was taught before it")


def _check_decision(d: Decision) -> None:
    _text("decision.id", d.id)
    check_number("decision.time_s", d.time_s, 0.0, LATEST_S)
    check_number("decision.propensity", d.propensity, 0.0, 1.0)
    if d.propensity == 0.0:
        raise Invalid("decision.propensity", "must be above 0: what was drawn had a chance")
    for name in ("model", "policy", "features", "domain"):
        _text(f"decision.{name}", getattr(d, name))
    _text("decision.why", d.why, MOST_WORDS)
    check_number("decision.input_tokens", d.input_tokens, 0, MOST_TOKENS)
    check_number("decision.shadow_price", d.shadow_price, 0.0, 1e12)
    _text_or_none("decision.key_id", d.key_id)
    if not isinstance(d.removed, dict) or not all(isinstance(why, str) for why in d.removed.values()):
        raise Invalid("decision.removed", "must be an object of names and reasons")
    if len(d.candidates) > MOST_CANDIDATES or len(d.removed) > MOST_CANDIDATES:
        raise Invalid("decision.candidates", f"at most {MOST_CANDIDATES}")
    for candidate in d.candidates:
        _check_candidate(candidate)
    if d.candidates and d.model not in {c.model for c in d.candidates}:
        raise Invalid("decision.model", "is not one of the candidates")


def _check_candidate(c: Candidate) -> None:
    prefix = "decision.candidates"
    _text(f"{prefix}.model", c.model)
    check_number(f"{prefix}.probability", c.probability, 0.0, 1.0)
    check_number(f"{prefix}.utility", c.utility, -1e12, 1e12)
    check_number(f"{prefix}.quality", c.quality, -1e6, 1e6)
    check_number(f"{prefix}.quality_sd", c.quality_sd, 0.0, 1e6)
    check_number_or_none(f"{prefix}.cost_usd", c.cost_usd, -MOST_USD, MOST_USD)
    check_number_or_none(f"{prefix}.latency_s", c.latency_s, 0.0, MOST_SECONDS)


def _check_outcome(o: Outcome) -> None:
    check_number("outcome.time_s", o.time_s, 0.0, LATEST_S)
    _text("outcome.model", o.model)
    check_number_or_none("outcome.input_tokens", o.input_tokens, 0, MOST_TOKENS)
    check_number_or_none("outcome.output_tokens", o.output_tokens, 0, MOST_TOKENS)
    check_number_or_none("outcome.cost_usd", o.cost_usd, 0.0, MOST_USD)
    check_number("outcome.latency_s", o.latency_s, 0.0, MOST_SECONDS)
    check_number_or_none("outcome.first_byte_s", o.first_byte_s, 0.0, MOST_SECONDS)
    for attempt in o.attempts:
        _check_attempt(attempt)


def _check_attempt(a: Attempt) -> None:
    _text("outcome.attempts.model", a.model)
    check_number("outcome.attempts.latency_s", a.latency_s, 0.0, MOST_SECONDS)
    if a.error is not None:
        _text("outcome.attempts.error", a.error, MOST_WORDS, least=0)
    if not isinstance(a.counts, bool):
        raise Invalid("outcome.attempts.counts", "must be true or false")


def _check_feedback(f: Feedback) -> None:
    _text("feedback.id", f.id)
    check_number("feedback.revision", f.revision, 1, 2**31)
    check_number("feedback.time_s", f.time_s, 0.0, LATEST_S)
    check_number("feedback.quality", f.quality, 0.0, 1.0)
    check_number("feedback.weight", f.weight, 0.0, MOST_IMPORTED_WEIGHT)
    _text_or_none("feedback.model", f.model)
    _text_or_none("feedback.key_id", f.key_id)
    if not isinstance(f.signals, dict):
        raise Invalid("feedback.signals", "must be an object")
    for lesson in _lessons(f):
        check_number("feedback.lessons.quality", lesson.quality, 0.0, 1.0)
        check_number("feedback.lessons.weight", lesson.weight, 0.0, MOST_IMPORTED_WEIGHT)
        _text_or_none("feedback.lessons.rival", lesson.rival)
        check_number_or_none("feedback.lessons.preference", lesson.preference, -1.0, 1.0)


def _lessons(f: Feedback) -> Iterator[Lesson]:
    """Those that are kept; and whether the signals, which the next revision reads, are such as callers give."""
    try:
        judged = judgement(f.signals)
        duels_of(f.signals)
        lessons_of(f.signals, f.model)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, ZeroDivisionError):
        raise Invalid("feedback.signals", "are none that a caller, a judge or a retry gives") from None
    if judged is not None:
        check_number("feedback.signals", judged.quality, 0.0, 1.0)
    yield from f.lessons


# ------------------------------------------------------------------ one value


def check_number(field: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(field, "must be a number")
    if not (least <= value <= most and isfinite(value)):
        raise Invalid(field, f"must be from {least:g} to {most:g}, not {value:g}")


def check_number_or_none(field: str, value: object, least: float, most: float) -> None:
    if value is not None:
        check_number(field, value, least, most)


def _text(field: str, value: object, most: int = MOST_NAME, *, least: int = 1) -> None:
    if not isinstance(value, str):
        raise Invalid(field, "must be a text")
    if not least <= len(value) <= most:
        raise Invalid(field, f"must have {least} to {most} characters, not {len(value)}")


def _text_or_none(field: str, value: object) -> None:
    if value is not None:
        _text(field, value)
