"""What time it is at most: were anything folded that is later, all that comes at its right time would weigh nothing."""

from dataclasses import replace
from math import floor

from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.core.storage import Ledger
from conduit.routing.checks import FARTHEST_S
from conduit.routing.decision import Observation
from conduit.routing.protocols import Clock

SKEW_S = 60.0
"""By so much a time may be ahead: what clocks that are looked after differ by, and no half-life notices."""
TOLD_S = 5.0
"""A difference between this machine's clock and the database's that is told."""
EVERY_S = 30.0
DAY_S = 86400.0
CLOCK = "clock"


class Present:
    """The database's clock, where it has one of its own, and else this machine's."""

    def __init__(self, ledger: Ledger, clock: Clock, listener: Listener) -> None:
        self._ledger, self._clock, self._listener = ledger, clock, listener
        self._ahead_s = 0.0
        """Of the database's clock before this machine's."""
        self._looked_s: float | None = None

    @property
    def wrong(self) -> bool:
        """Whether this machine's clock is."""
        return abs(self._ahead_s) > TOLD_S

    @property
    def now_s(self) -> float:
        return self._clock.now_s() + self._ahead_s

    async def look(self) -> None:
        """Compare the clocks, now and then. Raises LedgerUnavailable."""
        elapsed_s = self._clock.elapsed_s()
        if self._looked_s is not None and elapsed_s - self._looked_s < EVERY_S:
            return
        theirs_s = await self._ledger.now_s()
        self._looked_s = elapsed_s
        self._ahead_s = 0.0 if theirs_s is None else theirs_s - self._clock.now_s()
        if self.wrong:
            which = "behind" if self._ahead_s > 0 else "ahead of"
            why = f"this machine's clock is more than {TOLD_S:g} s {which} the database's: set it (NTP)"
            self._listener(Degraded(CLOCK, why))

    def bounded(self, observation: Observation) -> Observation:
        """What lies in the future counts as of the beginning of today (UTC): so processes that read it on one day, and
        whoever takes it back, agree to the last bit on what it weighs."""
        now_s, time_s = self.now_s, observation.time_s
        if (
            0.0 <= time_s <= now_s + SKEW_S or not abs(time_s) <= FARTHEST_S
        ):  # that is no time at all, and is not folded
            return observation
        if time_s < 0.0:
            return replace(observation, time_s=0.0)
        self._listener(Degraded(CLOCK, "observations of the future were read: they count as of today"))
        return replace(observation, time_s=floor(now_s / DAY_S) * DAY_S)
