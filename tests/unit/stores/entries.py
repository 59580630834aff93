"""Entries to put into a ledger, and a way to compare them."""

from dataclasses import fields
from typing import Any

import numpy as np

from conduit.routing.decision import Attempt, Candidate, Decision, Feedback, Lesson, Observation, Outcome, Status

CONTEXT = np.array([0.25, -1.5, 0.1], dtype=np.float32).astype(np.float64)


def decision(number: int = 1, **changes: Any) -> Decision:
    candidates = (
        Candidate("ada", 0.7, 0.1, 0.9, 0.05, 0.002, 1.25),
        Candidate("bob", 0.3, -0.2, 0.8, 0.1, None, None),
    )
    values: dict[str, Any] = {
        "id": name(number),
        "time_s": 1_700_000_000.125 + number,
        "model": "ada",
        "propensity": 0.7,
        "candidates": candidates,
        "removed": {"eve": "context window: 10 < 20"},
        "why": "drawn with 0.7 — beliefs are wide",
        "policy": "hierarchical",
        "routed": True,
        "context": CONTEXT,
        "features": "hashing-1",
        "domain": "code",
        "input_tokens": 12,
        "shadow_price": 0.5,
        "key_id": "key_1",
        "user_id": "ü-1",
        "session_id": "talk-1",
        "prompt_hash": bytes(range(16)),
        "request_id": "ü-request",
    }
    return Decision(**(values | changes))


def name(number: int) -> str:
    return f"dec_{number:08d}"


def outcome(number: int = 1, **changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "decision_id": name(number),
        "time_s": 1_700_000_001.5 + number,
        "model": "bob",
        "status": Status.ANSWERED,
        "attempts": (Attempt("ada", 0.5, "timeout", counts=True), Attempt("bob", 1.0)),
        "input_tokens": 11,
        "output_tokens": 99,
        "measured": False,
        "cost_usd": 0.0123,
        "latency_s": 1.5,
        "first_byte_s": 0.75,
        "response_id": f"chatcmpl-{number}",
    }
    return Outcome(**(values | changes))


def feedback(number: int = 1, revision: int = 1, **changes: Any) -> Feedback:
    values: dict[str, Any] = {
        "id": f"fb_{number}_{revision}",
        "decision_id": name(number),
        "revision": revision,
        "time_s": 1_700_000_002.0 + number,
        "quality": 0.8,
        "signals": {"stars": 4, "comments": 'good, "mostly"\n\u2713', "nested": {"thumbs": [True, None, 0.1]}},
        "model": "ada",
        "key_id": "key_1",
        "weight": 0.75,
        "lessons": (Lesson(0.8, 0.5), Lesson(0.8, 0.25, "bob", -1.0)),
    }
    return Feedback(**(values | changes))


def observation(number: int = 1, **changes: Any) -> Observation:
    values: dict[str, Any] = {
        "decision_id": name(number),
        "model": "ada",
        "context": CONTEXT,
        "features": "hashing-1",
        "time_s": 1_700_000_000.125 + number,
        "weight": 1.0,
        "quality": 0.8,
        "output_tokens": 99.0,
        "latency_s": None,
        "cost_usd": 0.0123,
        "rival": "bob",
        "preference": -1.0,
    }
    return Observation(**(values | changes))


def plain(entry: object) -> dict[str, object]:
    """Comparable: arrays have no plain equality."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}  # type: ignore[arg-type]
    if "context" in values:
        values["context"] = (values["context"].dtype, values["context"].tolist())
    return values
