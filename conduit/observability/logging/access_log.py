"""Events -> what the access line of the request says, in which they happened."""

from conduit.core.events import Decided, Degraded, Event, FeedbackGiven, Settled
from conduit.observability.current import CURRENT, Current

HEARS = (Decided, Settled, FeedbackGiven, Degraded)


def note_down(event: Event, /) -> None:
    """A listener. What happens in no request is no part of any line."""
    current = CURRENT.get()
    if current is None:
        return
    match event:
        case Decided():
            _decided(current.note, event)
        case Settled():
            current.away_s = (current.away_s or 0.0) + event.away_s
            _settled(current.note, event)
        case FeedbackGiven() if event.source == "caller":
            current.note["decision"] = event.feedback.decision_id
        case Degraded():
            _degraded(current, event.what)


def _decided(note: dict[str, object], event: Decided) -> None:
    decision = event.decision
    note |= {"decision": decision.id, "model": decision.model, "propensity": round(decision.propensity, 4)}
    if decision.key_id is not None:
        note["key"] = decision.key_id


def _settled(note: dict[str, object], event: Settled) -> None:
    outcome = event.outcome
    note |= {
        "model": outcome.model,
        "outcome": str(outcome.status),
        "cost_usd": None if outcome.cost_usd is None else round(outcome.cost_usd, 9),
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "upstream_ms": round(outcome.latency_s * 1e3, 2),
        "attempts": len(outcome.attempts),
    }
    if outcome.first_byte_s is not None:
        note["first_byte_ms"] = round(outcome.first_byte_s * 1e3, 2)
    failed = [f"{attempt.model}: {attempt.error}" for attempt in outcome.attempts if attempt.error is not None]
    if failed:
        note["failed"] = failed


def _degraded(current: Current, what: str) -> None:
    known = current.note.setdefault("degraded", [])
    if isinstance(known, list) and what not in known:
        known.append(what)
