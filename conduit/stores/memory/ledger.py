"""The ledger in memory: for the library, for tests and for replay. It is gone with the process."""

from asyncio import Future, get_running_loop
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from conduit.core.errors import LedgerConflict, LedgerUnavailable
from conduit.core.storage import ROUNDING, Cap, Entry, Place, Standby, Totals, Unreadable
from conduit.routing.decision import Decision, Feedback, Observation, Outcome, Record, Status
from conduit.stores.sql.writer import Listener, Receipt, nobody


class MemoryLedger:
    """The same promises as the ledger in a database, except that nothing survives."""

    def __init__(self, *, listener: Listener = nobody) -> None:
        self._listener = listener
        self._taken: set[Hashable] = set()
        self._ids: list[str] = []
        self._decisions: dict[str, Decision] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._feedback: dict[str, Feedback] = {}
        self._given: dict[tuple[str | None, str | None], set[str]] = {}
        self._sessions: dict[tuple[str | None, str | None], list[str]] = {}
        self._answers: dict[str, list[str]] = {}
        self._requests: dict[tuple[str | None, str], str] = {}
        self._observations: list[Observation] = []
        self._closed = False

    async def open(self) -> None:
        self._closed = False

    def append(self, *entries: Entry | Cap, power_safe: bool = False) -> Future[Place]:  # noqa: ARG002 - no power cut is survived
        receipt = Receipt(loop=get_running_loop(), listener=self._listener)
        kept = [entry for entry in entries if not isinstance(entry, Cap)]
        names = [name for entry in kept for name in _names(entry)]
        if self._closed:
            receipt.fail(LedgerUnavailable("the ledger is not open"))
        elif len(set(names)) < len(names) or not self._taken.isdisjoint(names):
            receipt.fail(LedgerConflict("somebody wrote that entry before"))
        elif not all(self._holds(cap, kept) for cap in entries if isinstance(cap, Cap)):
            receipt.fail(LedgerConflict("others taught at the same time"))
        else:
            self._taken.update(names)
            for entry in sorted(kept, key=lambda entry: isinstance(entry, Observation)):
                self._keep(entry)
            receipt.fulfil()
        return receipt

    def _holds(self, cap: Cap, kept: Sequence[Entry]) -> bool:
        """Whether it would, once `kept` is."""
        added = {entry.decision_id: entry for entry in kept if isinstance(entry, Feedback)}
        return self._weight(cap.key_id, cap.model, cap.since_s, added) <= cap.weight + ROUNDING

    def _weight(self, key_id: str | None, model: str, since_s: float, added: dict[str, Feedback]) -> float:
        given = {name: self._feedback[name] for name in self._given.get((key_id, model), ())} | added
        counted = [f for f in given.values() if (f.key_id, f.model) == (key_id, model) and f.time_s > since_s]
        return sum((f.weight for f in counted), 0.0)

    async def find(self, name: str, *, key_id: str | None = None) -> Record | None:
        known = [i for i in (name, *self._answers.get(name, ())) if self._owned(i, key_id)]
        return self._record(name if name in known else max(known)) if known else None

    async def requested(self, request_id: str, *, key_id: str | None) -> Record | None:
        known = self._requests.get((key_id, request_id))
        return None if known is None else self._record(known)

    async def recent(self, *, limit: int, before: str | None = None, key_id: str | None = None) -> Sequence[Record]:
        end = len(self._ids) if before is None else bisect_left(self._ids, before)
        newest = (name for name in reversed(self._ids[:end]) if self._owned(name, key_id))
        return [self._light(name) for name in islice(newest, limit)]

    def _owned(self, name: str, key_id: str | None) -> bool:
        decision = self._decisions.get(name)
        return decision is not None and key_id in {None, decision.key_id}

    async def observations(self, *, after: int, limit: int) -> Sequence[tuple[int, Observation | Unreadable]]:
        return list(islice(enumerate(islice(self._observations, after, None), after + 1), limit))

    async def now_s(self) -> float | None:
        return None

    async def prompts(self, names: Sequence[str]) -> Mapping[str, str]:
        known = [self._decisions[name] for name in names if name in self._decisions]
        return {decision.id: decision.prompt for decision in known if decision.prompt is not None}

    async def taught(self, *, key_id: str | None, model: str, since_s: float) -> float:
        return self._weight(key_id, model, since_s, {})

    async def latest(self, session_id: str, *, key_id: str | None, before: str | None = None) -> Record | None:
        known = self._sessions.get((key_id, session_id), [])
        place = len(known) if before is None else bisect_left(known, before)
        return self._light(known[place - 1]) if place else None

    async def totals(self, *, key_id: str | None = None) -> Totals:
        mine = {d.id for d in self._decisions.values() if key_id is None or d.key_id == key_id}
        outcomes = [outcome for outcome in self._outcomes.values() if outcome.decision_id in mine]
        answers = [outcome for outcome in outcomes if outcome.status is Status.ANSWERED]
        models = [outcome.model for outcome in answers]
        teaching = [given for given in self._feedback.values() if given.weight > 0 and given.model is not None]
        teaching = [given for given in teaching if given.decision_id in mine]
        return Totals(
            decisions=len(mine),
            answered=len(answers),
            cached=sum(outcome.status is Status.CACHED for outcome in outcomes),
            failed=sum(outcome.status is Status.FAILED for outcome in outcomes),
            cost_usd=sum(outcome.cost_usd or 0.0 for outcome in outcomes),
            unpriced=sum(outcome.cost_usd is None for outcome in answers),
            latency_s=sum(outcome.latency_s for outcome in answers) / (len(answers) or 1),
            by_model={model: models.count(model) for model in sorted(set(models))},
            rated=len(teaching),
            quality=sum(g.weight * g.quality for g in teaching) / sum(g.weight for g in teaching) if teaching else None,
        )

    async def behind(self) -> bool:
        return False

    @property
    def standby(self) -> Standby:
        return Standby.NONE

    async def check(self) -> bool:
        return True

    async def close(self) -> None:
        self._closed = True

    def _light(self, name: str) -> Record:
        """Without the text."""
        record = self._record(name)
        if record.decision.prompt is None:
            return record
        return replace(record, decision=replace(record.decision, prompt=None))

    def _record(self, name: str) -> Record:
        return Record(self._decisions[name], self._outcomes.get(name), self._feedback.get(name))

    def _keep(self, entry: Entry) -> None:
        match entry:
            case Decision():
                self._decisions[entry.id] = entry
                insort(self._ids, entry.id)
                insort(self._sessions.setdefault((entry.key_id, entry.session_id), []), entry.id)
                if entry.request_id is not None:
                    place = entry.key_id, entry.request_id
                    self._requests[place] = max(entry.id, self._requests.get(place, ""))
            case Outcome():
                self._outcomes[entry.decision_id] = entry
                if entry.response_id is not None:
                    self._answers.setdefault(entry.response_id, []).append(entry.decision_id)
            case Feedback():
                latest = self._feedback.get(entry.decision_id)
                if latest is None or latest.revision < entry.revision:
                    self._feedback[entry.decision_id] = entry
                    if entry.weight > 0:
                        self._given.setdefault((entry.key_id, entry.model), set()).add(entry.decision_id)
            case Observation():
                if entry.decision_id in self._decisions:  # else it has no context, and teaches nothing
                    self._observations.append(entry)


def _names(entry: Entry) -> Iterator[Hashable]:
    """What nobody else may be called."""
    match entry:
        case Decision():
            yield "decision", entry.id
        case Outcome():
            yield "outcome", entry.decision_id
        case Feedback():
            yield "feedback", entry.id
            yield "revision", entry.decision_id, entry.revision
        case Observation():
            pass
