"""A caller who leaves ends what is done for it."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from conduit.core.request_state import state_of

T = TypeVar("T")
FIRST_LOOK_S = 0.03
"""After which it is looked for: an answer that is there by then is given all the same."""


async def while_present(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives. When the caller leaves first, the work is cancelled and ClientDisconnect raised; but not where
    it has named its request (Idempotency-Key), and so may come back for the answer.

    The request's body must have been read: what its server tells after that is that the caller has left.
    """
    if state_of(request.scope).promised:
        return await work
    task = asyncio.current_task()
    assert task is not None, "awaited in a task"
    others, watch = task.cancelling(), _Watch(request, task)
    timer = task.get_loop().call_later(FIRST_LOOK_S, watch.begin)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.left and task.cancelling() - 1 <= others:
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        watch.end()
        if watch.left:  # also where the work made something else of its cancellation
            task.uncancel()


class _Watch:
    """Waits for the caller to leave, in a task of its own: most that is answered at once does without."""

    def __init__(self, request: Request, task: "asyncio.Task[Any]") -> None:
        self._request, self._task, self.left = request, task, False
        self._waiting: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._waiting = self._task.get_loop().create_task(self._wait())

    def end(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    async def _wait(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.left = True
        self._task.cancel()
