"""One answer was preferred to another: what that says of either, kept with both so that it can be taken back."""

from collections.abc import Mapping

from conduit.core.judgement import DUELS, duels_of
from conduit.core.storage import Ledger
from conduit.gateway.learning.named import found
from conduit.gateway.learning.observations import credited
from conduit.routing.decision import Decision, Record
from conduit.routing.errors import InvalidRequest, NotFound

OVER, UNDER = "over:", "under:"
"""Before a decision's id: the one that this answer was preferred to, or that was preferred to this one."""
UNKNOWN = 0.5
MOST = 100
"""Comparisons of one answer: each revision keeps all of them."""

Changes = dict[str, tuple[Record, dict[str, object]]]
"""By decision id: what the ledger holds, and the signals that take the place of those there."""


async def compared(ledger: Ledger, record: Record, signals: dict[str, object]) -> Changes:
    """`signals` of `record` with their preference resolved, and those of the other answers that it concerns: the one
    that an earlier preference named, and the one that it names now. Raises NotFound, InvalidRequest."""
    changes: Changes = {record.decision.id: (record, signals)}
    for other in [name.removeprefix(OVER) for name in duels_of(signals) if name.startswith(OVER)]:
        _put(changes, record.decision.id, OVER + other, None)
        loser = await ledger.find(other)
        if loser is not None:
            changes[other] = (loser, signals_of(loser))
            _put(changes, other, UNDER + record.decision.id, None)
    named = signals.get("preferred_over")
    if isinstance(named, str):
        loser = await _rival(ledger, named, record.decision)
        other = loser.decision.id
        changes.setdefault(other, (loser, signals_of(loser)))
        won, lost = sides(record, loser, tie=bool(signals.get("tie")))
        _put(changes, record.decision.id, OVER + other, won)
        _put(changes, other, UNDER + record.decision.id, lost)
    return changes


def signals_of(record: Record) -> dict[str, object]:
    """All that was said of an answer up to now, copied."""
    return dict(record.feedback.signals) if record.feedback else {}


def sides(winner: Record, loser: Record, *, tie: bool) -> tuple[dict[str, object], dict[str, object]]:
    """What either side keeps. As a rating, the winner stands as far above what the two were expected to be worth when
    they were asked, in the mean, as the loser below: so a comparison moves the difference and not the level, and what
    was not compared neither gains nor loses by it (docs/decisions/0016)."""
    level = (_expected(winner) + _expected(loser)) / 2.0
    preference = 0.0 if tie else 1.0
    step = preference * min(0.5, level, 1.0 - level)
    return (
        {"rival": credited(loser.decision, loser.outcome), "preference": preference, "quality": level + step},
        {"rival": credited(winner.decision, winner.outcome), "preference": -preference, "quality": level - step},
    )


def _expected(record: Record) -> float:
    """0..1 of the model that answered, as it was believed at the decision."""
    model = credited(record.decision, record.outcome)
    believed = [c.quality for c in record.decision.candidates if c.model == model]
    return min(max(believed[0], 0.0), 1.0) if believed else UNKNOWN


async def _rival(ledger: Ledger, name: str, decision: Decision) -> Record:
    loser = await found(ledger, name, key_id=decision.key_id, caller_id=decision.key_id)
    if loser is None or loser.decision.key_id != decision.key_id:
        raise NotFound("response", name, param="preferred_over")
    if loser.decision.id == decision.id:
        raise InvalidRequest("preferred_over: names the answer itself", param="preferred_over")
    return loser


def _put(changes: Changes, whose: str, name: str, side: Mapping[str, object] | None) -> None:
    record, signals = changes[whose]
    duels = duels_of(signals)
    duels.pop(name, None)
    if side is not None:
        if len(duels) >= MOST:
            raise InvalidRequest(
                f"preferred_over: an answer takes part in {MOST} comparisons at most", param="preferred_over"
            )
        duels[name] = dict(side)
    rest = {each: value for each, value in signals.items() if each != DUELS}
    changes[whose] = record, {**rest, DUELS: duels} if duels else rest
