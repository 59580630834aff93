"""Waiting for what was queued to be written, also when nobody is left who waits."""

from asyncio import Future

from conduit.core.errors import LedgerError
from conduit.core.events import Degraded
from conduit.core.protocols import Listener


def looked_at(written: Future[None]) -> None:
    """Nobody may be left to wait for it; the writer itself announces what it loses."""
    if not written.cancelled():
        written.exception()


async def durable(*queued: Future[None] | None, listener: Listener) -> bool:
    """False when the ledger could not take one of them; what is None was never queued."""
    try:
        for each in queued:
            if each is not None:
                await each
    except LedgerError as error:
        listener(Degraded("ledger", type(error).__name__))
        return False
    return True
