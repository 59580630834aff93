"""Snapshots of beliefs: the newest good one is where a start begins, and one is written now and then."""

import asyncio

from conduit.core.errors import LedgerError
from conduit.core.events import Degraded, SnapshotRefused
from conduit.core.protocols import Listener
from conduit.core.storage import SnapshotStore
from conduit.gateway.learning.present import SKEW_S
from conduit.routing.protocols import Clock
from conduit.routing.router import Router
from conduit.routing.snapshot import Snapshot, Unfit, opened, taken

HARMLESS = 1 / 30
"""Of a half-life: by so much what is believed may be of a later time than now, which costs 2 % of a weight."""


def ahead(latest_s: float, now_s: float, half_life_s: float) -> bool:
    """Whether what is believed is so far of the future that what comes now would weigh too little."""
    return half_life_s > 0.0 and latest_s - now_s > max(half_life_s * HARMLESS, 2 * SKEW_S)


class Snapshots:
    """`every` observations one is written, by whichever worker comes first; 0: never."""

    def __init__(self, store: SnapshotStore, *, router: Router, clock: Clock, listener: Listener, every: int) -> None:
        self._store, self._router, self._clock, self._listener = store, router, clock, listener
        self._every = every
        self._last = 0
        """Position of the newest that is known of."""

    async def load(self, now_s: float | None = None) -> int:
        """Form the router's beliefs from the newest snapshot that fits, and return its position; 0 where none does.
        What does not fit, or is of a later time than `now_s`, is announced and kept. Raises LedgerUnavailable."""
        before: int | None = None
        while (kept := await self._store.newest(before=before)) is not None:
            before, snapshot = kept
            try:
                await asyncio.to_thread(self._believe, snapshot, now_s)
            except Unfit as unfit:
                if unfit.why == "corrupt":
                    await self._store.set_aside(before, unfit.why)
                self._listener(SnapshotRefused(snapshot.position, unfit.why))
                continue
            self._last = snapshot.position
            return snapshot.position
        return 0

    def _believe(self, snapshot: Snapshot, now_s: float | None = None) -> None:
        beliefs = self._router.beliefs
        state = opened(snapshot, beliefs.recipe)
        try:
            beliefs.restore(state)
        except ValueError as error:
            raise Unfit("corrupt") from error
        if ahead(beliefs.latest_s, self._clock.now_s() if now_s is None else now_s, beliefs.recipe.half_life_s):
            beliefs.restore({})
            raise Unfit("future")

    async def begin_with(self, snapshot: Snapshot) -> None:
        """From now on the fold begins with these sums, before anything that the ledger holds. Raises Unfit, and
        LedgerUnavailable."""
        await asyncio.to_thread(self._believe, snapshot)
        await self._store.save(await asyncio.to_thread(self._taken, 0, snapshot.time_s), base=True)

    async def keep_base(self, position: int) -> None:
        """What is believed at `position`, for good. Raises LedgerUnavailable."""
        now_s = self._clock.now_s()
        await self._store.save(await asyncio.to_thread(self._taken, position, now_s), base=True)

    def due(self, position: int) -> bool:
        return 0 < self._every <= position - self._last

    async def save(self, position: int) -> None:
        """What is believed at `position`, while nobody folds. Failures are announced: the next is due as usual."""
        since, self._last = self._last, position
        beliefs = self._router.beliefs
        try:
            if await self._store.has(beliefs.recipe, after=since + self._every // 2):
                return
            now_s = self._clock.now_s()
            await self._store.save(await asyncio.to_thread(self._taken, position, now_s))
        except LedgerError as error:
            self._listener(Degraded("snapshot", type(error).__name__))

    def _taken(self, position: int, time_s: float) -> Snapshot:
        beliefs = self._router.beliefs
        return taken(beliefs.state(), beliefs.recipe, position=position, time_s=time_s)
