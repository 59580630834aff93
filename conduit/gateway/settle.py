"""One feedback event: find the decision, append what was said and what it teaches, acknowledge after commit."""

from collections.abc import Mapping

from conduit.core.decision import Feedback
from conduit.core.errors import LedgerConflict, NotFound
from conduit.core.events import FeedbackGiven
from conduit.core.protocols import Clock, Ids, Ledger, Listener
from conduit.core.reward import quality_of
from conduit.gateway.lessons import credited, lessons_of_feedback

TRIES = 20
"""Somebody else may be judging the same answer at the same time; each try reads what they wrote."""


class Settler:
    """Takes feedback. Saying the same thing twice changes nothing; saying something else replaces it."""

    def __init__(self, *, ledger: Ledger, clock: Clock, ids: Ids, listener: Listener) -> None:
        self._ledger, self._clock, self._ids, self._listener = ledger, clock, ids, listener

    async def settle(self, name: str, signals: Mapping[str, object]) -> Feedback:
        """`name` is a decision's id or the provider's id of the answer.

        Raises InvalidRequest when `signals` hold nothing that tells quality, NotFound, LedgerUnavailable.
        """
        quality = quality_of(signals)
        for _ in range(TRIES):
            try:
                return await self._once(name, signals, quality)
            except LedgerConflict:
                continue
        raise LedgerConflict(f"{TRIES} others judged this answer at the same time; send it again")

    async def _once(self, name: str, signals: Mapping[str, object], quality: float) -> Feedback:
        record = await self._ledger.find(name)
        if record is None:
            raise NotFound("response", name, param="response_id")
        previous = record.feedback
        if previous is not None and previous.signals == signals:
            self._listener(FeedbackGiven(previous, repeated=True))
            return previous
        feedback = Feedback(
            id=self._ids.new("fb"),
            decision_id=record.decision.id,
            revision=previous.revision + 1 if previous else 1,
            time_s=self._clock.now_s(),
            quality=quality,
            signals=dict(signals),
            model=credited(record.decision, record.outcome),
        )
        lessons = lessons_of_feedback(record.decision, feedback, previous)
        await self._ledger.append(feedback, *lessons, power_safe=True)
        self._listener(FeedbackGiven(feedback, repeated=False))
        return feedback
