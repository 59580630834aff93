"""Who asks the same again was not content: such retries are looked for behind the requests, never before them."""

from asyncio import Queue, QueueFull

import numpy as np

from conduit.bandits.policy import Vector
from conduit.core.events import Decided, Degraded, Event
from conduit.core.protocols import Listener
from conduit.core.storage import Ledger
from conduit.gateway.learning.settle import Settler
from conduit.routing.decision import Decision, Record, Status

WITHIN_S = 300.0
ALIKE = 0.9
"""Cosine between contexts; benchmarks/retries.py prints how many retries are found with it, and how many strangers."""
WAITING = 1000
"""Decisions of sessions that may wait to be looked at; more are let go, and that is announced."""


class RetryDetector:
    """Listens to decisions. When one is much like the last of its session, the answer to that one gets `retried`."""

    def __init__(self, *, ledger: Ledger, settler: Settler, listener: Listener) -> None:
        self._ledger, self._settler, self._listener = ledger, settler, listener
        self._queue: Queue[Decision] = Queue(WAITING)

    def __call__(self, event: Event, /) -> None:
        if not isinstance(event, Decided) or event.decision.session_id is None:
            return
        try:
            self._queue.put_nowait(event.decision)
        except QueueFull:
            self._listener(Degraded("retries", "too many decisions wait to be looked at"))

    async def run(self) -> None:
        """Look until cancelled; what goes wrong is announced, and the next decision looked at."""
        while True:
            decision = await self._queue.get()
            try:
                await self.look(decision)
            except Exception as error:  # noqa: BLE001  a loop in the background: without it no retry is found any more
                self._listener(Degraded("retries", type(error).__name__))

    async def look(self, decision: Decision) -> None:
        """Raises LedgerError."""
        if decision.session_id is None:
            return
        earlier = await self._ledger.latest(decision.session_id, key_id=decision.key_id, before=decision.id)
        if earlier is not None and is_retry(decision, earlier):
            await self._settler.settle(earlier.decision.id, {"retried": True}, source="retry")


def is_retry(decision: Decision, earlier: Record) -> bool:
    """Only of an answer: who had none asks again because of that."""
    first, outcome = earlier.decision, earlier.outcome
    answered = outcome is not None and outcome.status is Status.ANSWERED
    soon = 0.0 <= decision.time_s - first.time_s <= WITHIN_S
    return answered and soon and first.features == decision.features and alike(first.context, decision.context) >= ALIKE


def alike(one: Vector, other: Vector) -> float:
    """Cosine between two contexts (d,), without their last feature, which is always 1."""
    u, v = one[:-1], other[:-1]
    lengths = float(np.linalg.norm(u) * np.linalg.norm(v))
    return float(u @ v) / lengths if lengths > 0.0 else 0.0
