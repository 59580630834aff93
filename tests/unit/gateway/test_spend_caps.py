"""Reservations before calls, what they did cost after, and what happens when neither can be written."""

import asyncio
from collections.abc import Awaitable

import pytest

from conduit.core.budget import Budget, Caps, Hold, period_end_s
from conduit.core.errors import BudgetExceeded, LedgerUnavailable
from conduit.core.events import Capped, Degraded, Event
from conduit.gateway.money.spend_caps import SpendCaps, Terms, make_spend_caps
from conduit.gateway.request.exchange import Ask
from conduit.routing.catalogue import Model, Price
from conduit.routing.query import Query
from conduit.stores.sql.reservations import MemoryReservations
from conduit.testing import CountingIds, StillClock

NOW = 1_795_694_400.0
"""2026-11-26, noon UTC."""
MODEL = Model("m", "p", price=Price(1e6, 1e6))
"""A dollar a token."""
FREE_TO_SAY = Ask(Query("hi", key_name="team"), {"messages": []}, size=10)
SAID = Ask(Query("hi", key_name="team"), {"messages": [], "max_tokens": 20, "n": 2}, size=10)


class Away(MemoryReservations):
    """Cannot write what was spent while it is away."""

    away = True

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    async def settle(self, hold: Hold, *, actual_usd: float) -> None:
        if self.away:
            raise LedgerUnavailable("away")
        await super().settle(hold, actual_usd=actual_usd)
        self.written.set()


def spend_caps(holds: MemoryReservations, events: list[Event], terms: Terms | None = None) -> SpendCaps:
    terms = terms or Terms(keys={"team": (Caps(usd_per_day=100.0), Budget())}, output_tokens=30)
    made = make_spend_caps(holds, terms, clock=StillClock(NOW), ids=CountingIds(), listener=events.append)
    assert made is not None
    return made


def test_without_caps_and_budgets_there_is_none() -> None:
    terms = Terms(keys={"team": (Caps(), Budget())})
    assert make_spend_caps(MemoryReservations(), terms, clock=StillClock(), ids=CountingIds(), listener=print) is None


def test_the_worst_case_is_every_byte_and_every_token_that_may_come() -> None:
    made = spend_caps(MemoryReservations(), [])
    assert made.worst_usd(SAID, MODEL) == 10 + 2 * 20
    assert made.worst_usd(FREE_TO_SAY, MODEL) == 10 + 30
    assert made.worst_usd(SAID, Model("unpriced", "p")) is None


def test_many_answers_are_as_many_as_they_say_and_what_is_no_number_is_not_sent() -> None:
    made = spend_caps(MemoryReservations(), [])
    body = {"messages": [], "max_tokens": 2.0, "n": 1000}
    many = Ask(Query("hi", key_name="team"), body, size=10)
    assert made.worst_usd(many, MODEL) == 10 + 1000 * 2
    assert made.limited(many, MODEL) is body
    for odd in ("9999", True, 0, -1, 1.5, [9], float("inf")):
        sly = Ask(Query("hi", key_name="team"), body | {"n": odd, "max_completion_tokens": odd}, size=10)
        assert made.worst_usd(sly, MODEL) == 10 + 2
        assert made.limited(sly, MODEL) == {"messages": [], "max_tokens": 2.0}


@pytest.mark.parametrize(
    ("model", "name"), [("m", "max_tokens"), ("gpt-4.1", "max_tokens"), ("gpt-5-mini", "max_completion_tokens")]
)
def test_who_names_no_limit_gets_the_one_that_is_paid_for(model: str, name: str) -> None:
    made = spend_caps(MemoryReservations(), [])
    assert made.limited(SAID, MODEL) is SAID.body
    nonsense = Ask(SAID.query, {"max_tokens": "many"}, size=10)
    assert made.limited(nonsense, Model(model, "openai")) == {name: 30}


async def test_what_does_not_fit_says_whose_budget_and_until_when() -> None:
    events: list[Event] = []
    made = spend_caps(MemoryReservations(), events)
    for _ in range(2):
        hold = await made.hold(SAID, MODEL)
        assert hold is not None
        await made.settle(hold, hold.usd)
    for refusal in (made.hold(SAID, MODEL), _refused(made.refusal(SAID, [MODEL]))):
        with pytest.raises(BudgetExceeded, match="when the period is over") as refused:
            await refusal
        assert (refused.value.account, refused.value.retry_after_s) == ("key:team", 12 * 3600.0)
    assert events == [Capped("key:team", "2026-11-26")] * 2
    assert await made.hold(Ask(Query("hi", key_name="other"), {}), MODEL) is None


async def _refused(refusal: Awaitable[BudgetExceeded]) -> None:
    raise await refusal


async def test_what_calls_that_run_have_set_aside_is_worth_waiting_for() -> None:
    made = spend_caps(MemoryReservations(), [])
    for _ in range(2):
        assert await made.hold(SAID, MODEL) is not None
    for refusal in (made.hold(SAID, MODEL), _refused(made.refusal(SAID, [MODEL]))):
        with pytest.raises(BudgetExceeded, match="when calls that run now have ended") as refused:
            await refusal
        assert refused.value.retry_after_s == 1.0
    with pytest.raises(BudgetExceeded, match="when the period is over"):
        raise await made.refusal(SAID, [])


async def test_what_cannot_be_written_is_written_later_and_counts_once() -> None:
    events: list[Event] = []
    holds = Away()
    made = spend_caps(holds, events, Terms(caps=Caps(usd_per_day=100.0), hold_s=0.03))
    hold = await made.hold(SAID, MODEL)
    assert hold is not None
    paid = made.pay(hold, "team", 3.0)
    assert paid is not None
    await paid
    assert [type(e) for e in events] == [Degraded]
    loop = asyncio.create_task(made.run())
    holds.away = False
    await asyncio.wait_for(holds.written.wait(), 10.0)
    loop.cancel()
    assert await holds.spent(hold.accounts) == [(3.0, 1)]
    assert await holds.used(hold.accounts, now_s=NOW) == [3.0]


def test_days_and_months_end_where_the_next_begin() -> None:
    assert period_end_s("2026-11-26", NOW) == NOW + 12 * 3600.0
    assert period_end_s("2026-11", NOW) == NOW + 12 * 3600.0 + 4 * 86_400.0
