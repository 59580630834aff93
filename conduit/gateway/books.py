"""The books: what the whole ledger comes to, and what was saved, without walking it for everybody who asks."""

import asyncio
from collections.abc import Sequence

from conduit.core.protocols import Clock, Listener
from conduit.core.router import Router
from conduit.core.savings import Account, account
from conduit.core.storage import Ledger, Record, Totals
from conduit.gateway.follow import Follower
from conduit.gateway.kept import Figure, Kept

PAGE = 200
"""Records read at a time: decoding so many holds the event loop for several milliseconds."""


class Books:
    """Savings are recomputed every `every_s` at most, over the `last` decisions; totals, which the ledger counts along,
    each time. Nobody asks: nothing is computed."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        router: Router,
        follower: Follower,
        baseline: str,
        every_s: float,
        clock: Clock,
        listener: Listener,
        last: int = 2000,
    ) -> None:
        self._ledger, self._router, self._follower = ledger, router, follower
        self.baseline, self._every_s, self._last = baseline, every_s, last
        self._totals = Kept("totals", ledger.totals, clock=clock, listener=listener)
        self._account = Kept("savings", self._reckon, clock=clock, listener=listener)

    async def totals(self) -> Figure[Totals]:
        """Raises LedgerUnavailable while there are none."""
        return await self._totals.get(good_for_s=lambda _: 0.0)

    async def account(self) -> Figure[Account]:
        """Raises LedgerUnavailable while there is none."""
        return await self._account.get(good_for_s=lambda _: self._every_s)

    async def _reckon(self) -> Account:
        await self._follower.catch_up()  # so that it is a function of the ledger, whoever reckons
        records = await recent(self._ledger, last=self._last)
        return await asyncio.to_thread(account, records, router=self._router, baseline=self.baseline)

    async def stop(self) -> None:
        await self._totals.stop()
        await self._account.stop()


async def recent(ledger: Ledger, *, last: int) -> Sequence[Record]:
    """The newest first, page by page."""
    records: list[Record] = []
    while len(records) < last:
        before = records[-1].decision.id if records else None
        page = await ledger.recent(limit=min(PAGE, last - len(records)), before=before)
        records += page
        if not page:
            break
    return records
