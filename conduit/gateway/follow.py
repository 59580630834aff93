"""Beliefs follow the ledger: the one road from what was written to what is believed."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from conduit.core.events import Degraded, Drifted, Followed
from conduit.core.protocols import Listener
from conduit.core.router import Router
from conduit.core.storage import Ledger
from conduit.gateway.reread import Rereading
from conduit.gateway.snapshots import Snapshots

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
    ) -> None:
        self._ledger, self._router, self._listener, self._interval_s = ledger, router, listener, interval_s
        self.snapshots, self._rereading = snapshots, rereading
        self._drifting: Collection[tuple[str, str]] = ()
        self.position = 0
        """Of the last observation folded."""
        self._news = asyncio.Event()
        self._alone = asyncio.Lock()

    async def begin(self) -> None:
        """Before anything is folded: with the newest snapshot that fits, then with all that came after it.

        Raises LedgerUnavailable.
        """
        if self.snapshots is not None:
            self.position = await self.snapshots.load()
        await self.catch_up()
        changed = None if self._rereading is None else self._rereading.told()
        if changed is not None:
            self._listener(changed)

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
                self._listener(Followed(self.position, caught_up=read < AT_ONCE))
            except Exception as error:  # noqa: BLE001  a loop in the background: without it nothing more is ever learned
                self._listener(Degraded("follower", type(error).__name__))
                read = 0
            if read < AT_ONCE:
                await self._pause()

    async def _step(self) -> int:
        async with self._alone:
            read = await self._read()
            if self._router.beliefs.stale or (read == 0 and self._router.beliefs.behind):
                await self._renew()
            await self._save()
        return read

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
            self._router.fold(observation)
            self.position = position
        return len(rows)
