"""What an outcome and a feedback teach: the observations that are appended with them."""

from collections.abc import Iterator
from dataclasses import replace

from conduit.routing.decision import Decision, Feedback, Observation, Outcome, Status


def lessons_of_outcome(decision: Decision, outcome: Outcome) -> Iterator[Observation]:
    """A failure is quality 0 of the model that failed; an answer teaches tokens, latency and what was spent.
    One from the cache teaches nothing: no model was asked."""
    blank = decision.observation()
    for attempt in outcome.attempts:
        if attempt.counts:
            yield replace(blank, model=attempt.model, quality=0.0)
    if outcome.status is Status.ANSWERED:
        yield replace(
            blank,
            model=outcome.model,
            output_tokens=outcome.output_tokens,
            latency_s=outcome.latency_s,
            cost_usd=outcome.cost_usd,
        )
    elif outcome.cost_usd:
        yield replace(blank, model=outcome.model, cost_usd=outcome.cost_usd)


def credited(decision: Decision, outcome: Outcome | None) -> str | None:
    """Whose answer a feedback judges; None where every model failed, which has taught already."""
    if outcome is None:
        return decision.model
    return None if outcome.status is Status.FAILED else outcome.model


def lessons_of_feedback(decision: Decision, feedback: Feedback, previous: Feedback | None) -> Iterator[Observation]:
    """A call counts once, however often it is judged: what was taught before is taken back first, from whom it was
    taught to and with the weight of then."""
    if previous is not None:
        yield from (replace(taught, weight=-taught.weight) for taught in _taught(decision, previous))
    yield from _taught(decision, feedback)


def _taught(decision: Decision, feedback: Feedback) -> Iterator[Observation]:
    if feedback.model is None:
        return
    for lesson in feedback.lessons:
        yield replace(
            decision.observation(quality=lesson.quality),
            model=feedback.model,
            weight=lesson.weight,
            rival=lesson.rival,
            preference=lesson.preference,
        )
