"""Beliefs follow the ledger: the one road from what was written to what is believed."""

import asyncio
from collections.abc import Collection, Container, Sequence
from contextlib import suppress

from conduit.core.errors import LedgerError
from conduit.core.events import Degraded, Drifted, Followed, SetAside
from conduit.core.protocols import Listener
from conduit.core.storage import Ledger, Unreadable
from conduit.gateway.learning.present import CLOCK, Present
from conduit.gateway.learning.reread import Rereading
from conduit.gateway.learning.snapshots import Snapshots, ahead
from conduit.routing.catalogue import Model
from conduit.routing.checks import Invalid
from conduit.routing.decision import Observation
from conduit.routing.protocols import Clock
from conduit.routing.router import Router
from conduit.routing.system import SystemClock

STANDS_STILL = 20
"""Steps in a row that failed, though the ledger answered."""
AT_ONCE = 200
"""Observations read at a time: a fold of so many holds the event loop for several milliseconds."""


class Follower:
    """Reads what is new, folds it, and renews beliefs off the event loop."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        router: Router,
        listener: Listener,
        interval_s: float,
        snapshots: Snapshots | None = None,
        rereading: Rereading | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._ledger, self._router, self._listener, self._interval_s = ledger, router, listener, interval_s
        self.snapshots, self._rereading = snapshots, rereading
        self.present = Present(ledger, clock or SystemClock(), listener)
        self._failures = 0
        self._drifting: Collection[tuple[str, str]] = ()
        self.position = 0
        """Of the last observation folded."""
        self._news = asyncio.Event()
        self._alone = asyncio.Lock()

    async def begin(self) -> None:
        """Before anything is folded: with the newest snapshot that fits, then with all that came after it.

        Raises LedgerUnavailable.
        """
        await self._load()
        await self.catch_up()
        changed = None if self._rereading is None else self._rereading.told()
        if changed is not None:
            self._listener(changed)

    async def _load(self) -> None:
        await self.present.look()
        if self.snapshots is not None:
            self.position = await self.snapshots.load(self.present.now_s)

    @property
    def state(self) -> str | None:
        """What there is to say of it: None, degraded, or why beliefs stand still."""
        if self._failures >= STANDS_STILL:
            return "stand still: see the log for what=follower"
        return "degraded" if self.present.wrong or self._router.beliefs.set_aside else None

    async def replace_models(self, models: Sequence[Model], *, resumed: Container[str]) -> None:
        """Router.replace_models, off the event loop and while nothing is folded."""
        async with self._alone:
            await asyncio.to_thread(self._router.replace_models, models, resumed=resumed)

    async def catch_up(self) -> None:
        """Fold all that there is, and believe it: two processes that have caught up believe the same.

        Raises LedgerUnavailable.
        """
        async with self._alone:
            while await self._read():
                await self._save()
            if self._router.beliefs.behind:
                await self._renew()

    async def keep_base(self) -> int:
        """All that there is, folded and kept for good, so that the ledger need not know it any more; its position.

        Raises LedgerUnavailable.
        """
        assert self.snapshots is not None
        async with self._alone:
            while await self._read():
                pass
            await self.snapshots.keep_base(self.position)
            return self.position

    async def run(self) -> None:
        """Follow until cancelled; what goes wrong is announced, and tried again."""
        while True:
            try:
                read = await self._step()
                self._failures = 0
                self._listener(Followed(self.position, caught_up=read < AT_ONCE))
            except LedgerError as error:
                self._listener(Degraded("follower", type(error).__name__))
                read = 0
            except Exception as error:  # noqa: BLE001  a loop in the background: without it nothing more is ever learned
                self._failures += 1
                self._listener(Degraded("follower", type(error).__name__))
                read = 0
            if read < AT_ONCE:
                await self._pause()

    async def _step(self) -> int:
        async with self._alone:
            await self.present.look()
            if self._ahead():
                await self._begin_again()
            read = await self._read()
            if self._router.beliefs.stale or (read == 0 and self._router.beliefs.behind):
                await self._renew()
            await self._save()
        return read

    def _ahead(self) -> bool:
        """Whether the clock was set back since much of what is believed was folded."""
        beliefs = self._router.beliefs
        return ahead(beliefs.latest_s, self.present.now_s, beliefs.recipe.half_life_s)

    async def _begin_again(self) -> None:
        """What was read while the clock was wrong is read anew. Raises LedgerUnavailable."""
        self._listener(Degraded(CLOCK, "the clock was set back: what was learned is read again"))
        await asyncio.to_thread(self._router.beliefs.restore, {})
        self.position = 0
        await self._load()
        while await self._read():
            pass
        await self._renew()

    async def _save(self) -> None:
        """Also on the way through a long ledger: who is stopped there goes on from here."""
        if self.snapshots is not None and self.snapshots.due(self.position):
            await self.snapshots.save(self.position)

    async def _renew(self) -> None:
        """Beliefs, and what is known of who has changed."""
        await asyncio.to_thread(self._router.beliefs.refresh)
        changes = self._router.beliefs.changes
        for (model, signal), found in changes.items():
            if (model, signal) not in self._drifting:
                self._listener(Drifted(model, signal, found.since_s, found.shift))
        self._drifting = changes.keys()

    def wake(self) -> None:
        """Something was written by this process: look at once."""
        self._news.set()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s):
                await self._news.wait()
        self._news.clear()

    async def _read(self) -> int:
        rows = await self._ledger.observations(after=self.position, limit=AT_ONCE)
        for position, observation in rows if self._rereading is None else await self._rereading.understood(rows):
            self._fold(position, observation)
            self.position = position
        return len(rows)

    def _fold(self, position: int, found: Observation | Unreadable) -> None:
        """What cannot be folded, however it came there, is set aside: it must not keep all others from teaching."""
        try:
            if isinstance(found, Observation):
                self._router.fold(self.present.bounded(found))
                return
            field = found.field
        except Invalid as invalid:
            field = invalid.field
        self._router.beliefs.set_aside += 1
        self._listener(SetAside(position, found.decision_id, field, self._router.beliefs.set_aside))
