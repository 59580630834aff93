"""How long one waits for another."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


async def patiently(work: Awaitable[T], patience_s: float, *, turns: int = 0) -> T:
    """What `work` gives within so many seconds, and then so many turns of the event loop: it may be there, while this
    process is busy with others.

    The rules of asyncio.timeout at a third of its price, for what every request pays. Raises TimeoutError; whoever else
    cancels the task is not mistaken for it.
    """
    task = asyncio.current_task()
    assert task is not None, "awaited in a task"
    others, watch = task.cancelling(), _Watch(task)
    timer = task.get_loop().call_later(max(patience_s, 0.0), watch.give_up, turns)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.late and task.cancelling() - 1 <= others:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        watch.over = True
        if watch.late:  # also where the work made something else of it
            task.uncancel()


class _Watch:
    """Holds no timer: one that held it in turn would be garbage that only a collector finds."""

    __slots__ = ("_task", "late", "over")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task, self.late, self.over = task, False, False

    def give_up(self, turns: int) -> None:
        if self.over:
            return
        if turns:
            self._task.get_loop().call_soon(self.give_up, turns - 1)
        else:
            self.late = True
            self._task.cancel()
