"""Budgets that are paced: each account's shadow price, from what all workers have spent and what is yet to come."""

import asyncio
import math
from collections.abc import Mapping, Sequence

from conduit.bandits.horizon import Traffic, per_request_usd
from conduit.bandits.pacing import Pacer
from conduit.bandits.policy import Vector
from conduit.core.budget import EACH, GATEWAY, Account, Budget, Spent, key_account, period_end_s
from conduit.core.errors import LedgerUnavailable
from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.core.storage import Reservations
from conduit.routing.protocols import Clock

SHARE_OF_REST = 0.2
"""Of what is left of a day or month one answer may be expected to cost so much."""
LOOK_S = 1.0
"""Between looks at what all workers have spent: so far a worker may be behind the others."""


class Pace:
    """One account's."""

    def __init__(self, name: str, budget: Budget) -> None:
        self.name, self.budget = name, budget
        self.pacer = Pacer(budget.usd_per_request or math.inf)
        self._traffic = Traffic()
        self._looked_s: float | None = None
        self._last: dict[str, Spent] = {}
        self._last_each: Spent | None = None

    def accounts(self, now_s: float) -> list[Account]:
        """To which what a request did cost is written."""
        return [*self.budget.stream(self.name), *self.budget.accounts(self.name, now_s)]

    def look(self, paid: Mapping[Account, Spent], now_s: float) -> None:
        """What its accounts have paid by now."""
        spent = {account: each for account, each in paid.items() if not account.period.startswith(EACH)}
        for account in paid.keys() - spent.keys():
            self._catch_up(paid[account])
        self._count(spent, now_s)
        self.pacer.aim_usd = min(
            (
                per_request_usd(
                    account.limit_usd,
                    spent_usd=paid.usd,
                    requests=paid.requests,
                    expected=self._traffic.expected(now_s, period_end_s(account.period, now_s)),
                )
                for account, paid in spent.items()
            ),
            default=math.inf,
        )
        left_usd = (account.limit_usd - paid.usd for account, paid in spent.items())
        self.pacer.room_usd = min((SHARE_OF_REST * max(left, 0.0) for left in left_usd), default=math.inf)

    def _catch_up(self, paid: Spent) -> None:
        """With all workers, and with those before them. What they spent since they looked none of them knows: so many
        requests at least it takes to make up for it, or all would at once."""
        before = self._last_each
        came = 0 if before is None else paid.requests - before.requests
        self.pacer.catch_up(paid.usd, paid.requests, patience=2.0 * came)
        self._last_each = paid

    def _count(self, spent: Mapping[Account, Spent], now_s: float) -> None:
        """What came since the last look, by any account that was open then."""
        came = [
            paid.requests - self._last[account.period].requests
            for account, paid in spent.items()
            if account.period in self._last
        ]
        if came and self._looked_s is not None:
            self._traffic.count(came[0], until_s=now_s, elapsed_s=max(now_s - self._looked_s, 1e-6))
        self._last, self._looked_s = {account.period: paid for account, paid in spent.items()}, now_s


class Together:
    """All who pay for one request: the tightest budget sets the price, and each sees what could be had."""

    def __init__(self, pacers: Sequence[Pace]) -> None:
        self._pacers = pacers

    @property
    def begun(self) -> bool:
        return all(pace.pacer.begun for pace in self._pacers)

    @property
    def price(self) -> float:
        return max(pace.pacer.price for pace in self._pacers)

    @property
    def dearest_usd(self) -> float:
        return min(pace.pacer.dearest_usd for pace in self._pacers)

    @property
    def room_usd(self) -> float:
        return min(pace.pacer.room_usd for pace in self._pacers)

    def stint(self, cost_usd: float) -> None:
        for pace in self._pacers:
            pace.pacer.stint(cost_usd)

    def observe(self, quality: Vector, cost_usd: Vector, width: Vector | float = 0.0) -> None:
        for pace in self._pacers:
            pace.pacer.observe(quality, cost_usd, width)


class BudgetPacers:
    """Of the gateway and of each key that has a budget."""

    def __init__(
        self, holds: Reservations, gateway: Budget, keys: Mapping[str, Budget], *, clock: Clock, listener: Listener
    ) -> None:
        self._holds, self._clock, self._listener = holds, clock, listener
        everybody = [Pace(GATEWAY, gateway)] if gateway.any else []
        own = {name: Pace(key_account(name), budget) for name, budget in keys.items() if budget.any}
        self._pacers = [*everybody, *own.values()]
        self._everybody = Together(everybody) if everybody else None
        self._together = {name: Together([*everybody, pace]) for name, pace in own.items()}
        self._by_key = {name: [*everybody, pace] for name, pace in own.items()}
        self._default = everybody

    def pacer(self, key_name: str) -> Together | None:
        """None: nobody who pays has a budget."""
        return self._together.get(key_name, self._everybody)

    def accounts(self, key_name: str) -> list[Account]:
        """To which what a request did cost is written."""
        now_s = self._clock.now_s()
        pacers = self._by_key.get(key_name, self._default)
        return [account for pace in pacers for account in pace.accounts(now_s)]

    def spend(self, key_name: str, cost_usd: float) -> None:
        """What a request of this worker did cost."""
        for pace in self._by_key.get(key_name, self._default):
            pace.pacer.spend(cost_usd)

    async def spent(self) -> list[tuple[Account, Spent]]:
        """Of every budget that there is. Raises LedgerUnavailable."""
        now_s = self._clock.now_s()
        accounts = [account for pace in self._pacers for account in pace.accounts(now_s)]
        return list(zip(accounts, await self._holds.spent(accounts), strict=True)) if accounts else []

    async def look(self) -> None:
        """Raises LedgerUnavailable."""
        found, now_s = await self.spent(), self._clock.now_s()
        for pace in self._pacers:
            pace.look({account: paid for account, paid in found if account.name == pace.name}, now_s)

    async def run(self) -> None:
        """Look until cancelled. While nothing can be read, prices stay as they are."""
        while True:
            try:
                await self.look()
            except LedgerUnavailable as error:
                self._listener(Degraded("pacing", type(error).__name__))
            await asyncio.sleep(LOOK_S)
