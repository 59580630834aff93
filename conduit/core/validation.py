"""What an entry of the ledger may hold, whoever wrote it: judged when it is imported, and before it is folded."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from conduit.core.judgement import duels_of, judgement, lessons_of
from conduit.core.storage import ROUNDING, Whole
from conduit.routing.checks import (
    MOST_SECONDS,
    MOST_TOKENS,
    MOST_USD,
    Invalid,
    check_context,
    check_number,
    check_number_or_none,
    check_observation,
    check_text,
    check_text_or_none,
)
from conduit.routing.decision import Attempt, Candidate, Decision, Feedback, Lesson, Observation, Outcome
from conduit.routing.features import NO_FEATURES, TextFeatures

LATEST_S = 1e11
"""Unix seconds, some three thousand years on: beyond it a time is a mistake of units, or worse."""
MOST_IMPORTED_WEIGHT = 10.0
"""One answer teaches with 1 at most, and what failed several times with so much."""
MOST_WORDS = 4000
MOST_CANDIDATES = 5000
T = TypeVar("T")
DIMENSIONS = {TextFeatures.version: TextFeatures.dimension, NO_FEATURES: 0}


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
    check_text("decision.id", d.id)
    check_number("decision.time_s", d.time_s, 0.0, LATEST_S)
    check_number("decision.propensity", d.propensity, 0.0, 1.0)
    if d.propensity == 0.0:
        raise Invalid("decision.propensity", "must be above 0: what was drawn had a chance")
    for name in ("model", "policy", "features", "domain"):
        check_text(f"decision.{name}", getattr(d, name))
    check_text("decision.why", d.why, MOST_WORDS)
    check_number("decision.input_tokens", d.input_tokens, 0, MOST_TOKENS)
    check_number("decision.shadow_price", d.shadow_price, 0.0, 1e12)
    check_text_or_none("decision.key_id", d.key_id)
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
    check_text(f"{prefix}.model", c.model)
    check_number(f"{prefix}.probability", c.probability, 0.0, 1.0)
    check_number(f"{prefix}.utility", c.utility, -1e12, 1e12)
    check_number(f"{prefix}.quality", c.quality, -1e6, 1e6)
    check_number(f"{prefix}.quality_sd", c.quality_sd, 0.0, 1e6)
    check_number_or_none(f"{prefix}.cost_usd", c.cost_usd, -MOST_USD, MOST_USD)
    check_number_or_none(f"{prefix}.latency_s", c.latency_s, 0.0, MOST_SECONDS)


def _check_outcome(o: Outcome) -> None:
    check_number("outcome.time_s", o.time_s, 0.0, LATEST_S)
    check_text("outcome.model", o.model)
    check_number_or_none("outcome.input_tokens", o.input_tokens, 0, MOST_TOKENS)
    check_number_or_none("outcome.output_tokens", o.output_tokens, 0, MOST_TOKENS)
    check_number_or_none("outcome.cost_usd", o.cost_usd, 0.0, MOST_USD)
    check_number("outcome.latency_s", o.latency_s, 0.0, MOST_SECONDS)
    check_number_or_none("outcome.first_byte_s", o.first_byte_s, 0.0, MOST_SECONDS)
    for attempt in o.attempts:
        _check_attempt(attempt)


def _check_attempt(a: Attempt) -> None:
    check_text("outcome.attempts.model", a.model)
    check_number("outcome.attempts.latency_s", a.latency_s, 0.0, MOST_SECONDS)
    if a.error is not None:
        check_text("outcome.attempts.error", a.error, MOST_WORDS, least=0)
    if not isinstance(a.counts, bool):
        raise Invalid("outcome.attempts.counts", "must be true or false")


def _check_feedback(f: Feedback) -> None:
    check_text("feedback.id", f.id)
    check_number("feedback.revision", f.revision, 1, 2**31)
    check_number("feedback.time_s", f.time_s, 0.0, LATEST_S)
    check_number("feedback.quality", f.quality, 0.0, 1.0)
    check_number("feedback.weight", f.weight, 0.0, MOST_IMPORTED_WEIGHT)
    check_text_or_none("feedback.model", f.model)
    check_text_or_none("feedback.key_id", f.key_id)
    if not isinstance(f.signals, dict):
        raise Invalid("feedback.signals", "must be an object")
    for lesson in _lessons(f):
        check_number("feedback.lessons.quality", lesson.quality, 0.0, 1.0)
        check_number("feedback.lessons.weight", lesson.weight, 0.0, MOST_IMPORTED_WEIGHT)
        check_text_or_none("feedback.lessons.rival", lesson.rival)
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
