"""Dollars within a day or a month (UTC): accounts, the limits on them, and what is held of them while a call runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EACH = "request:"
"""Begins the period of a budget a request."""
GATEWAY = "gateway"
"""The account of everybody together; that of a key is `key:` and its name, and stays the same when it is rotated."""


class Account(NamedTuple):
    """What may be spent under a name within a period. They sort in the order in which a store locks them."""

    name: str
    period: str
    """`2026-11-26`, or `2026-11`; or EACH and the budget."""
    limit_usd: float
    """Within the period; a request, where that is EACH."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Hard limits of one account; None is none."""

    usd_per_day: float | None = None
    usd_per_month: float | None = None

    @property
    def any(self) -> bool:
        return self.usd_per_day is not None or self.usd_per_month is not None

    def accounts(self, name: str, now_s: float) -> list[Account]:
        today = _utc(now_s).date().isoformat()
        limits = ((today, self.usd_per_day), (today[:7], self.usd_per_month))
        return [Account(name, period, usd) for period, usd in limits if usd is not None]


@dataclass(frozen=True, slots=True)
class Budget:
    """What an account is to spend, by pacing: nothing is refused for it. None is as much as comes."""

    usd_per_request: float | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None

    @property
    def any(self) -> bool:
        return any(usd is not None for usd in (self.usd_per_request, self.usd_per_day, self.usd_per_month))

    def accounts(self, name: str, now_s: float) -> list[Account]:
        """Of the day and the month that it is, with the budget of each as its limit."""
        return Caps(self.usd_per_day, self.usd_per_month).accounts(name, now_s)

    def stream(self, name: str) -> list[Account]:
        """What all requests under this budget a request have cost, without an end; under another begins another."""
        each_usd = self.usd_per_request
        return [] if each_usd is None else [Account(name, f"{EACH}{each_usd!r}", each_usd)]


class Spent(NamedTuple):
    """What an account has paid, and for how many requests."""

    usd: float
    requests: int


@dataclass(frozen=True, slots=True)
class Hold:
    """The most that one call can cost, taken from every account that pays for it until it is known what it did cost."""

    id: str
    usd: float
    expires_s: float
    """Unix seconds after which it is void, unless it was renewed."""
    accounts: Sequence[Account]


def key_account(key_name: str) -> str:
    return f"key:{key_name}"


def period_end_s(period: str, now_s: float) -> float:
    """Unix seconds at which `period`, which holds `now_s`, is over."""
    now = _utc(now_s)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if len(period) > len("2026-11"):
        return (day + timedelta(days=1)).timestamp()
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()


def _utc(now_s: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC)
