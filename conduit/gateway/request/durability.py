"""Waiting for what was queued to be written, also when nobody is left who waits."""

from asyncio import Future, wait

from conduit.core.errors import LedgerError
from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.core.storage import Place

PAID_S = 2.0
"""So long an answer waits for the purse, which is told later what it could not be told now."""
SPOOLED = Degraded("spool", "the database is away: decisions wait on the disk")


def looked_at(written: Future[Place]) -> None:
    """Nobody may be left to wait for it; the writer itself announces what it loses."""
    if not written.cancelled():
        written.exception()


async def paid(settled: Future[None] | None) -> None:
    """What is None was never charged."""
    if settled is not None:
        await wait({settled}, timeout=PAID_S)


async def kept(*queued: Future[Place] | None, listener: Listener) -> Place | None:
    """Where all of it is; None when some could not be kept. What is None was never queued."""
    try:
        places = {await each for each in queued if each is not None}
    except LedgerError as error:
        listener(Degraded("ledger", type(error).__name__))
        return None
    if Place.SPOOL not in places:
        return Place.LEDGER
    listener(SPOOLED)
    return Place.SPOOL
