"""A caller who leaves ends what is done for it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")
PROMISED = "conduit.promised"
"""In the scope of a request whose whole answer is kept for whoever sends it again."""


async def while_present(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives. When the caller leaves first, the work is cancelled and ClientDisconnect raised; but not where
    it has named its request (Idempotency-Key), and so may come back for the answer.

    The request's body must have been read: what its server tells after that is that the caller has left.
    """
    if request.scope.get(PROMISED):
        return await work
    task = asyncio.current_task()
    assert task is not None, "awaited in a task"
    others = task.cancelling()
    watch = asyncio.create_task(_watched(request, task))
    try:
        return await work
    except asyncio.CancelledError:
        if _left(watch) and task.cancelling() - 1 <= others:
            raise ClientDisconnect from None
        raise
    finally:
        watch.cancel()
        if _left(watch):  # also where the work made something else of its cancellation
            task.uncancel()


async def _watched(request: Request, task: "asyncio.Task[object]") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()


def _left(watch: "asyncio.Task[None]") -> bool:
    return watch.done() and not watch.cancelled() and watch.exception() is None
