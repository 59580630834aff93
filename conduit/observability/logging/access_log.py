"""What the access line of a request says beside the HTTP facts; never a prompt, never a secret."""

from conduit.core.events import Degraded, Event
from conduit.core.request_state import RequestState
from conduit.observability.current import CURRENT
from conduit.routing.decision import Outcome

HEARS = (Degraded,)


def note_down(event: Event, /) -> None:
    """A listener: what degrades while a request runs is said by its answer. In no request it is no part of any."""
    state = CURRENT.get()
    if state is not None and isinstance(event, Degraded):
        state.degrade(event.what, counted=True)


def fields_of(state: RequestState) -> dict[str, object]:
    """Those that there is something to say in."""
    fields: dict[str, object] = {}
    decision, outcome = state.decision, state.outcome
    if state.trace_id is not None:
        fields["trace_id"] = state.trace_id
    if state.key is not None:
        fields["key"] = state.key.id
    if decision is not None:
        fields |= {"decision": decision.id, "model": decision.model, "propensity": round(decision.propensity, 4)}
    elif state.rated is not None:
        fields["decision"] = state.rated
    if outcome is not None:
        _add_outcome(fields, outcome)
    if state.degraded:
        fields["degraded"] = list(state.degraded)
    if state.replayed:
        fields["replayed"] = True
    if state.code is not None:
        fields["code"] = state.code
    return fields


def _add_outcome(fields: dict[str, object], outcome: Outcome) -> None:
    fields |= {
        "model": outcome.model,
        "outcome": str(outcome.status),
        "cost_usd": None if outcome.cost_usd is None else round(outcome.cost_usd, 9),
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "upstream_ms": round(outcome.latency_s * 1e3, 2),
        "attempts": len(outcome.attempts),
    }
    if outcome.first_byte_s is not None:
        fields["first_byte_ms"] = round(outcome.first_byte_s * 1e3, 2)
    failed = [f"{attempt.model}: {attempt.error}" for attempt in outcome.attempts if attempt.error is not None]
    if failed:
        fields["failed"] = failed
