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


def lessons_of_feedback(
    decision: Decision, outcome: Outcome | None, feedback: Feedback, previous: Feedback | None
) -> Iterator[Observation]:
    """A call counts once, however often it is judged: what was said before is taken back first.

    Where every model failed there is nothing to judge, and the failure has taught already.
    """
    if outcome is not None and outcome.status is Status.FAILED:
        return
    blank = replace(decision.observation(), model=outcome.model if outcome else decision.model)
    if previous is not None:
        yield replace(blank, quality=previous.quality, weight=-1.0)
    yield replace(blank, quality=feedback.quality)
