"""What an outcome and a feedback teach: the observations that are appended with them."""

from collections.abc import Iterator
from dataclasses import replace

from conduit.core.decision import Decision, Feedback, Observation, Outcome, Status


def lessons_of_outcome(decision: Decision, outcome: Outcome) -> Iterator[Observation]:
    """A failure is quality 0 of the model that failed; an answer teaches tokens, latency and what was spent."""
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
    """A call counts once, however often it is judged: what was said before is taken back first, from whom it taught."""
    blank = decision.observation()
    if previous is not None and previous.model is not None:
        yield replace(blank, model=previous.model, quality=previous.quality, weight=-1.0)
    if feedback.model is not None:
        yield replace(blank, model=feedback.model, quality=feedback.quality)
