"""A budget a request is kept by all workers together, and by those that come after them."""

import pytest

from conduit.core.budget import EACH, GATEWAY, Budget, Hold
from conduit.core.events import nobody
from conduit.gateway.money.budget_pacers import BudgetPacers, Pace
from conduit.stores.sql.reservations import MemoryReservations
from conduit.testing import StillClock

BUDGET = Budget(usd_per_request=1.0)


def pacers(holds: MemoryReservations, budget: Budget = BUDGET) -> BudgetPacers:
    return BudgetPacers(holds, budget, {}, clock=StillClock(), listener=nobody)


def target(made: BudgetPacers) -> float:
    """Dollars that the next request may cost."""
    pacer = made.pacer("")
    assert pacer is not None
    (pace,) = pacer._pacers
    return pace.pacer.target_usd


async def spend(holds: MemoryReservations, made: BudgetPacers, usd: float) -> None:
    await holds.settle(Hold("h", 0.0, 0.0, made.accounts("")), actual_usd=usd)


async def test_what_others_overspent_is_made_up_for_and_so_is_what_was_before_a_restart() -> None:
    holds = MemoryReservations()
    one, other = pacers(holds), pacers(holds)
    for made in (one, other):
        await made.look()
        assert target(made) == 1.0
    for _ in range(60):
        await spend(holds, one, 1.5)
    for made in (one, other, pacers(holds)):
        await made.look()
        assert target(made) == pytest.approx(1.0 - 30.0 / 150.0)
        ((account, paid),) = await made.spent()
        assert (account.name, account.limit_usd, paid) == (GATEWAY, 1.0, (90.0, 60))
        assert account.period.startswith(EACH)


async def test_under_another_budget_begins_another_account() -> None:
    holds = MemoryReservations()
    before = pacers(holds)
    await spend(holds, before, 100.0)
    after = pacers(holds, Budget(usd_per_request=2.0, usd_per_day=5.0))
    await after.look()
    assert [paid.requests for _, paid in await after.spent()] == [0, 0]


async def test_where_many_requests_come_between_two_looks_the_rest_is_spread_over_as_many() -> None:
    """Or every worker would make up for all of it, before it hears that others did."""
    holds, pace = MemoryReservations(), Pace(GATEWAY, BUDGET)
    await spend(holds, pacers(holds), 1.0)
    for _ in range(2):
        for _ in range(400):
            await spend(holds, pacers(holds), 1.1)
        accounts = pace.accounts(0.0)
        pace.look(dict(zip(accounts, await holds.spent(accounts), strict=True)), 0.0)
    assert pace.pacer.target_usd == pytest.approx(1.0 - 80.0 / 800.0)
