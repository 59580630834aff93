"""Learning that is taken back: retractions are appended, nothing is deleted, and every worker follows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf

from conduit.core.errors import LedgerConflict
from conduit.core.storage import ROUNDING, Archive, Entry, Ledger, Touched, Whole
from conduit.gateway.learning.observations import lessons_of_feedback
from conduit.routing.checks import Invalid, check_observation
from conduit.routing.decision import Feedback, Observation
from conduit.routing.protocols import Clock, Ids

AT_ONCE = 100
TRIES = 20
"""Somebody else may be judging an answer at the same time; each try reads what they wrote."""


@dataclass(slots=True)
class Extent:
    """How much is taken back, or would be."""

    decisions: int = 0
    observations: int = 0
    judgements: int = 0

    def add(self, entries: Sequence[Entry]) -> None:
        self.decisions += 1
        self.observations += sum(isinstance(entry, Observation) for entry in entries)
        self.judgements += sum(isinstance(entry, Feedback) for entry in entries)


class Rollback:
    """What decisions taught since a time, or those of one key, or both. Doing it again changes nothing."""

    def __init__(self, archive: Archive, ledger: Ledger, *, clock: Clock, ids: Ids) -> None:
        self._archive, self._ledger, self._clock, self._ids = archive, ledger, clock, ids

    async def extent(self, touched: Touched) -> Extent:
        """What `run` would do."""
        return await self._walk(touched, write=False)

    async def run(self, touched: Touched) -> Extent:
        """Durable when it returns. Raises LedgerUnavailable; what was taken back by then stays so."""
        return await self._walk(touched, write=True)

    async def _walk(self, touched: Touched, *, write: bool) -> Extent:
        extent, after = Extent(), ""
        while page := await self._archive.page(after=after, limit=AT_ONCE, touched=touched):
            found = await self._page(after, touched) if write else self._all(page, touched)
            for entries in found:
                extent.add(entries)
            after = page[-1].decision.id
        return extent

    async def _page(self, after: str, touched: Touched) -> list[list[Entry]]:
        for _ in range(TRIES):
            found = self._all(await self._archive.page(after=after, limit=AT_ONCE, touched=touched), touched)
            try:
                await self._ledger.append(*chain.from_iterable(found), power_safe=True)
            except LedgerConflict:
                continue
            return found
        raise LedgerConflict("others judge these answers all the time; try again")

    def _all(self, page: Sequence[Whole], touched: Touched) -> list[list[Entry]]:
        since_s = -inf if touched.since_s is None else touched.since_s
        found = (list(self._taken_back(whole, since_s)) for whole in page)
        return [entries for entries in found if entries]

    def _taken_back(self, whole: Whole, since_s: float) -> Iterator[Entry]:
        last = whole.feedback[-1] if whole.feedback else None
        ended_s = whole.decision.time_s if whole.outcome is None else whole.outcome.time_s
        if max(ended_s, whole.decision.time_s) >= since_s:
            yield from _cancelled(whole.observations)
            if last is not None and last.signals:
                yield self._revision(last, None)
        elif last is not None and last.time_s >= since_s:
            earlier = [feedback for feedback in whole.feedback if feedback.time_s < since_s]
            kept = earlier[-1] if earlier else None
            if (kept.lessons if kept else ()) != last.lessons:
                revision = self._revision(last, kept)
                yield revision
                yield from lessons_of_feedback(whole.decision, revision, last)

    def _revision(self, last: Feedback, kept: Feedback | None) -> Feedback:
        """That takes the place of the last: what was said before, or nothing."""
        said = kept or replace(last, quality=0.5, signals={}, weight=0.0, lessons=())
        return replace(said, id=self._ids.new("fb"), revision=last.revision + 1, time_s=self._clock.now_s())


def _taught(observation: Observation) -> bool:
    """What cannot be folded was set aside, and has taught nothing."""
    try:
        check_observation(observation, len(observation.context))
    except Invalid:
        return False
    return True


def _cancelled(observations: Sequence[Observation]) -> Iterator[Observation]:
    """What it takes to bring the weight of each to nothing: some may have been taken back already."""
    weights: dict[tuple[object, ...], float] = {}
    first: dict[tuple[object, ...], Observation] = {}
    for o in filter(_taught, observations):
        seen: tuple[object, ...] = (o.model, o.quality, o.output_tokens, o.latency_s, o.cost_usd, o.rival, o.preference)
        weights[seen] = weights.get(seen, 0.0) + o.weight
        first.setdefault(seen, o)
    for seen, weight in weights.items():
        if abs(weight) > ROUNDING:
            yield replace(first[seen], weight=-weight)
