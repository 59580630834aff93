"""One feedback event: find the decision, append what was said and what it teaches, acknowledge after commit."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import chain

from conduit.core.errors import LedgerConflict, LedgerUnavailable
from conduit.core.events import FeedbackGiven
from conduit.core.judgement import Source, check, lessons_of, quality_of, replaced, said_by
from conduit.core.protocols import Listener
from conduit.core.storage import Ledger
from conduit.gateway.learning.duels import compared, signals_of
from conduit.gateway.learning.feedback_cap import FeedbackCap
from conduit.gateway.learning.named import found
from conduit.gateway.learning.observations import credited, lessons_of_feedback
from conduit.gateway.steps import Step
from conduit.routing.decision import Feedback, Record
from conduit.routing.errors import NotFound
from conduit.routing.protocols import Clock, Ids

TRIES = 20
"""Somebody else may be judging the same answer at the same time; each try reads what they wrote."""


Find = Callable[[], Awaitable[Record | None]]


class Settler:
    """Takes feedback. Saying the same thing twice changes nothing; saying something else replaces what the same source
    said before, and leaves what others said. `weight_per_hour` is how much one key may teach of one model."""

    def __init__(
        self, *, ledger: Ledger, clock: Clock, ids: Ids, listener: Listener, weight_per_hour: float = 1000.0
    ) -> None:
        self._ledger, self._clock, self._ids, self._listener = ledger, clock, ids, listener
        self._step = Step(listener, "feedback")
        self._feedback_cap = FeedbackCap(ledger=ledger, listener=listener, weight_per_hour=weight_per_hour)

    async def settle(
        self,
        name: str,
        signals: Mapping[str, object],
        *,
        source: Source = "caller",
        key_id: str | None = None,
        caller_id: str | None = None,
    ) -> Feedback:
        """`name` is as in named.py, whose `key_id` and `caller_id` these are.

        Raises InvalidRequest when `signals` hold nothing that tells quality, NotFound, LedgerUnavailable.
        """
        check(source, signals)
        find = partial(found, self._ledger, name, key_id=key_id, caller_id=caller_id)
        with self._step:
            return await self._settled(find, name, signals, source)

    async def _settled(self, find: Find, name: str, said: Mapping[str, object], source: Source) -> Feedback:
        for _ in range(TRIES):
            try:
                return await self._once(find, name, said, source)
            except LedgerConflict:
                continue
        raise LedgerConflict(f"{TRIES} others judged this answer at the same time; send it again")

    async def _once(self, find: Find, name: str, said: Mapping[str, object], source: Source) -> Feedback:
        record = await find()
        if _may_be_on_its_way(record, name) and await self._ledger.behind():
            raise LedgerUnavailable("this answer may still be on its way into the ledger")
        if record is None:
            raise NotFound("response", name, param="response_id")
        earlier = signals_of(record)
        if record.feedback is not None and said_by(source, earlier) == said:
            self._listener(FeedbackGiven(record.feedback, repeated=True, source=source))
            return record.feedback
        signals = replaced(source, earlier, said)
        changes = {record.decision.id: (record, signals)}
        if source == "caller":
            changes = await compared(self._ledger, record, signals)
        given = await self._write([(each, self._revision(each, new)) for each, new in changes.values()])
        for feedback in given:
            kinds = tuple(said) if feedback is given[0] else ()
            self._listener(FeedbackGiven(feedback, repeated=False, source=source, kinds=kinds))
        return given[0]

    def _revision(self, record: Record, signals: dict[str, object]) -> Feedback:
        model = credited(record.decision, record.outcome)
        lessons = lessons_of(signals, model)
        return Feedback(
            id=self._ids.new("fb"),
            decision_id=record.decision.id,
            revision=record.feedback.revision + 1 if record.feedback else 1,
            time_s=self._clock.now_s(),
            quality=quality_of(signals, lessons),
            signals=signals,
            model=model,
            key_id=record.decision.key_id,
            weight=sum(lesson.weight for lesson in lessons),
            lessons=lessons,
        )

    async def _write(self, revisions: list[tuple[Record, Feedback]]) -> list[Feedback]:
        """All in one transaction; the first is the one that was asked for."""
        feedback, caps = await self._feedback_cap.cut(revisions, self._clock.now_s())
        lessons = chain.from_iterable(
            lessons_of_feedback(record.decision, given, record.feedback)
            for (record, _), given in zip(revisions, feedback, strict=True)
        )
        await self._ledger.append(*caps, *feedback, *lessons, power_safe=True)
        return feedback


def _may_be_on_its_way(record: Record | None, name: str) -> bool:
    """Also where there is an earlier request of the same id."""
    return record is None or record.outcome is None or record.decision.request_id == name
