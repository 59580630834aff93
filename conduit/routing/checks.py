"""What an observation may hold, judged before it is folded; the checks of single values, for whoever reads entries."""

from math import isfinite

import numpy as np

from conduit.bandits.statistics import MAX_WEIGHT
from conduit.routing.decision import Observation

MOST_LENGTH = 1e2
"""Of a context. Those of our features are about sqrt(3)."""
FARTHEST_S = 1e15
"""Of a time that is folded, from 1970: what is beyond was never a time."""
MOST_TOKENS, MOST_SECONDS, MOST_USD = 1e12, 1e9, 1e9
MOST_NAME = 200


class Invalid(ValueError):
    """An entry that cannot be right. `field` is one of a few names; the message is for who wrote it."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(f"{field}: {said}")
        self.field, self.said = field, said


# ------------------------------------------------------------------ one observation


def check_observation(o: Observation, dimension: int, *, most_weight: float = MAX_WEIGHT) -> None:
    """Whether beliefs can be made of it. Raises Invalid."""
    check_context(o.context, dimension)
    check_number("time_s", o.time_s, -FARTHEST_S, FARTHEST_S)
    check_number("weight", o.weight, -most_weight, most_weight)
    for name, value, least, most in (
        ("quality", o.quality, 0.0, 1.0),
        ("output_tokens", o.output_tokens, 0.0, MOST_TOKENS),
        ("latency_s", o.latency_s, 0.0, MOST_SECONDS),
        ("cost_usd", o.cost_usd, 0.0, MOST_USD),
        ("preference", o.preference, -1.0, 1.0),
    ):
        if value is not None:
            check_number(name, value, least, most)
    check_text("model", o.model)
    check_text_or_none("rival", o.rival)


def check_context(context: object, dimension: int) -> None:
    """Raises Invalid."""
    if not isinstance(context, np.ndarray) or context.shape != (dimension,):
        found = context.shape[0] if isinstance(context, np.ndarray) and context.ndim == 1 else "other"
        raise Invalid("context", f"has {found} numbers, and its features have {dimension}")
    if not float(context @ context) <= MOST_LENGTH**2:  # NaN is not, either
        raise Invalid("context", f"its numbers must be finite, and its length at most {MOST_LENGTH:g}")


# ------------------------------------------------------------------ one value


def check_number(field: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(field, "must be a number")
    if not (least <= value <= most and isfinite(value)):
        raise Invalid(field, f"must be from {least:g} to {most:g}, not {value:g}")


def check_number_or_none(field: str, value: object, least: float, most: float) -> None:
    if value is not None:
        check_number(field, value, least, most)


def check_text(field: str, value: object, most: int = MOST_NAME, *, least: int = 1) -> None:
    if not isinstance(value, str):
        raise Invalid(field, "must be a text")
    if not least <= len(value) <= most:
        raise Invalid(field, f"must have {least} to {most} characters, not {len(value)}")


def check_text_or_none(field: str, value: object) -> None:
    if value is not None:
        check_text(field, value)
