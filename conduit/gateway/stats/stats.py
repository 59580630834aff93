"""What the whole ledger comes to, and what was saved, without walking it for everybody who asks."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from conduit.core.protocols import Listener
from conduit.core.storage import Ledger, Totals
from conduit.gateway.learning.follow import Follower
from conduit.gateway.stats.refreshing import Figure, RefreshingValue
from conduit.routing.catalogue import Catalogue
from conduit.routing.decision import Record
from conduit.routing.protocols import Clock
from conduit.routing.router import Router
from conduit.routing.savings import Account, account

PAGE = 50
"""Records read at a time: one that was written with all that fits may have some 2 MB."""
MOST_PAGES = 100
"""Keys whose figures are kept; of others they are computed anew."""
SMALL = 20_000
"""So few decisions of a key are added up within milliseconds, each time that somebody asks."""


class Stats:
    """Savings are recomputed every `every_s` at most, over the `last` decisions; a key's totals too, once it has many;
    everybody's, which the ledger counts along, each time. Nobody asks: nothing is computed."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        router: Router,
        follower: Follower,
        baseline: Callable[[Catalogue], str],
        every_s: float,
        clock: Clock,
        listener: Listener,
        last: int = 2000,
    ) -> None:
        self._ledger, self._router, self._follower = ledger, router, follower
        self._baseline, self._every_s, self._last = baseline, every_s, last
        self._named = router.catalogue, baseline(router.catalogue)
        self._clock, self._listener = clock, listener
        self._pages: OrderedDict[str | None, Page] = OrderedDict()
        """By key; None: everybody's. Who was asked for last is last."""

    @property
    def baseline(self) -> str:
        """The model that savings are counted against; empty while there is none."""
        catalogue, named = self._named
        if catalogue is not self._router.catalogue:
            catalogue = self._router.catalogue
            named = self._baseline(catalogue)
            self._named = catalogue, named
        return named

    async def totals(self, *, key_id: str | None = None) -> Figure[Totals]:
        """Raises LedgerUnavailable while there are none."""
        page = self._page(key_id)
        return await page.totals.get(good_for_s=lambda t: self._every_s if key_id and t.decisions > SMALL else 0.0)

    async def account(self, *, key_id: str | None = None) -> Figure[Account]:
        """Raises LedgerUnavailable while there is none."""
        page = self._page(key_id)
        return await page.account.get(good_for_s=lambda _: self._every_s)

    def _page(self, key_id: str | None) -> "Page":
        if key_id not in self._pages:
            clock, listener = self._clock, self._listener
            self._pages[key_id] = Page(
                RefreshingValue("totals", partial(self._ledger.totals, key_id=key_id), clock=clock, listener=listener),
                RefreshingValue("savings", partial(self._reckon, key_id), clock=clock, listener=listener),
            )
        self._pages.move_to_end(key_id)
        if len(self._pages) > MOST_PAGES:
            self._pages.popitem(last=False)  # who waits for one of its figures still gets it
        return self._pages[key_id]

    async def _reckon(self, key_id: str | None) -> Account:
        await self._follower.catch_up()  # so that it is a function of the ledger, whoever reckons
        records = await recent(self._ledger, last=self._last, key_id=key_id)
        return await asyncio.to_thread(account, records, router=self._router, baseline=self.baseline)

    async def stop(self) -> None:
        for page in self._pages.values():
            await page.stop()


@dataclass(frozen=True, slots=True)
class Page:
    """What is kept of one key, or of everybody."""

    totals: RefreshingValue[Totals]
    account: RefreshingValue[Account]

    async def stop(self) -> None:
        await self.totals.stop()
        await self.account.stop()


async def recent(ledger: Ledger, *, last: int, key_id: str | None = None) -> Sequence[Record]:
    """The newest first, page by page."""
    records: list[Record] = []
    while len(records) < last:
        before = records[-1].decision.id if records else None
        page = await ledger.recent(limit=min(PAGE, last - len(records)), before=before, key_id=key_id)
        records += page
        if not page:
            break
    return records
