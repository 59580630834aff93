"""Who answered last in a session, and what the next request would lose with somebody else."""

import asyncio

from conduit.core.errors import LedgerError
from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.core.storage import Ledger
from conduit.routing.decision import Outcome, Status
from conduit.routing.protocols import Clock
from conduit.routing.query import Incumbent, Query

AT_HAND_S = 300.0
"""For how long providers say that they keep the beginning of a conversation (most: five minutes to an hour)."""
LEAST_TOKENS = 1024
"""Shorter beginnings are not kept (OpenAI's and Google's documentation)."""
LOOKS = 8
"""At so many requests of the session, the latest first."""
PATIENCE_S = 0.25
"""A request does not wait longer to hear of the one before it."""


class Sessions:
    """`stickiness` is Incumbent's."""

    def __init__(self, ledger: Ledger, *, stickiness: float, clock: Clock, listener: Listener) -> None:
        self._ledger, self._clock, self._listener = ledger, clock, listener
        self._stickiness = stickiness

    async def incumbent(self, query: Query) -> Incumbent | None:
        """Of the latest that was answered: who was only asked about, failed or still runs made no provider forget.
        None for a single prompt, for the first of a session, and, which is announced, when the ledger does not say."""
        if query.session_id is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                last = await self._answered(query.session_id, query.key_id)
        except (TimeoutError, LedgerError) as error:
            self._listener(Degraded("sessions", type(error).__name__))
            return None
        return None if last is None else Incumbent(last.model, self._at_hand(last), self._stickiness)

    async def _answered(self, session_id: str, key_id: str | None) -> Outcome | None:
        before = None
        for _ in range(LOOKS):
            last = await self._ledger.latest(session_id, key_id=key_id, before=before)
            if last is None:
                return None
            if last.outcome is not None and last.outcome.status in {Status.ANSWERED, Status.CACHED}:
                return last.outcome
            before = last.decision.id
        return None

    def _at_hand(self, last: Outcome) -> int:
        if self._clock.now_s() - last.time_s > AT_HAND_S:
            return 0
        tokens = (last.input_tokens or 0) + (last.output_tokens or 0)
        return tokens if tokens >= LEAST_TOKENS else 0
