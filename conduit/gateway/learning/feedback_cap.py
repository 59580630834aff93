"""How much one key may teach of one model within an hour: a liar moves beliefs so far, and no further."""

from collections.abc import Sequence
from dataclasses import replace

from conduit.core.events import FeedbackCapped
from conduit.core.protocols import Listener
from conduit.core.storage import ROUNDING, Cap, Ledger
from conduit.routing.decision import Feedback, Record

HOUR_S = 3600.0
Giver = tuple[str | None, str]
"""Key and model. Whoever has no key is one caller."""
Revision = tuple[Record, Feedback]
"""What the ledger holds of an answer, and the feedback that shall take the place of that there."""


class FeedbackCap:
    """Cuts feedback to the weight that is left; the ledger checks at the commit that it was so."""

    def __init__(self, *, ledger: Ledger, listener: Listener, weight_per_hour: float) -> None:
        self._ledger, self._listener, self._most = ledger, listener, weight_per_hour
        self._told: dict[Giver, float] = {}

    async def cut(self, revisions: Sequence[Revision], now_s: float) -> tuple[list[Feedback], list[Cap]]:
        """The same feedback, each with what weight is left for it (0 when none is), and the conditions under which it
        may be written. What a revision takes back may be given again."""
        since_s = now_s - HOUR_S
        left: dict[Giver, float] = {}
        allowed = []
        for _, feedback in revisions:
            if feedback.model is None or not feedback.lessons:
                allowed.append(feedback)
                continue
            giver = feedback.key_id, feedback.model
            if giver not in left:
                left[giver] = await self._left(giver, revisions, since_s)
            allowed.append(self._within(feedback, giver, left[giver], now_s))
            left[giver] -= allowed[-1].weight
        taught = {(f.key_id, f.model) for f in allowed if f.weight > 0 and f.model is not None}
        return allowed, [Cap(key_id, model, since_s, self._most) for key_id, model in taught]

    async def _left(self, giver: Giver, revisions: Sequence[Revision], since_s: float) -> float:
        key_id, model = giver
        earlier = [record.feedback for record, _ in revisions if record.feedback is not None]
        returned = sum(f.weight for f in earlier if (f.key_id, f.model) == giver and f.time_s > since_s)
        return self._most - await self._ledger.taught(key_id=key_id, model=model, since_s=since_s) + returned

    def _within(self, feedback: Feedback, giver: Giver, left: float, now_s: float) -> Feedback:
        if feedback.weight <= left + ROUNDING:
            return feedback
        self._tell(giver, now_s)
        if left <= ROUNDING:
            return replace(feedback, weight=0.0, lessons=())
        share = left / feedback.weight
        lessons = tuple(replace(lesson, weight=lesson.weight * share) for lesson in feedback.lessons)
        return replace(feedback, weight=left, lessons=lessons)

    def _tell(self, giver: Giver, now_s: float) -> None:
        """Once an hour of each, and without remembering those of other hours."""
        self._told = {each: told_s for each, told_s in self._told.items() if told_s > now_s - HOUR_S}
        if giver not in self._told:
            self._told[giver] = now_s
            self._listener(FeedbackCapped(*giver, self._most))
