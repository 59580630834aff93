"""Group commit of small work: what comes while other work is under way is done together, in the next transaction."""

from asyncio import Future, Task, create_task, get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from conduit.core.errors import LedgerError, LedgerUnavailable

J = TypeVar("J")
R = TypeVar("R")
MOST = 500
"""Jobs of one transaction."""


class Together(Generic[J, R]):
    """`do` does all or nothing, and gives a result for each job; it raises LedgerError. `unheard` is told of what was
    done for somebody who left meanwhile."""

    def __init__(
        self,
        do: Callable[[Sequence[J]], Awaitable[Sequence[R]]],
        *,
        unheard: Callable[[J, R], None] = lambda _job, _result: None,
    ) -> None:
        self._do, self._unheard = do, unheard
        self._queue: deque[tuple[J, Future[R]]] = deque()
        self._task: Task[None] | None = None

    async def done(self, job: J) -> R:
        """Raises LedgerError. Who is cancelled while the job waits takes it back."""
        result: Future[R] = get_running_loop().create_future()
        self._queue.append((job, result))
        if self._task is None or self._task.done():
            self._task = create_task(self._run(), name="together")
        return await result

    async def _run(self) -> None:
        while self._queue:
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), MOST))]
            await self._settle([each for each in taken if not each[1].done()])

    async def _settle(self, batch: Sequence[tuple[J, Future[R]]]) -> None:
        """A batch that is refused is halved until the guilty stand alone."""
        if not batch:
            return
        try:
            results = await self._do([job for job, _ in batch])
        except LedgerUnavailable as error:  # those that queued meanwhile have waited as long as these
            _fail([*batch, *self._queue], error)
            self._queue.clear()
        except Exception as error:  # noqa: BLE001 - the outermost boundary of this task: it must outlive any job
            if len(batch) == 1:
                _fail(batch, error if isinstance(error, LedgerError) else LedgerError(type(error).__name__))
                return
            half = len(batch) // 2
            await self._settle(batch[:half])
            await self._settle(batch[half:])
        else:
            for (job, future), result in zip(batch, results, strict=True):
                if future.done():
                    self._unheard(job, result)
                else:
                    future.set_result(result)


def _fail(jobs: Sequence[tuple[object, "Future[R]"]], error: LedgerError) -> None:
    """Each with an error of its own: a traceback is no place for others'."""
    for _, future in jobs:
        if not future.done():
            future.set_exception(type(error)(str(error)))
