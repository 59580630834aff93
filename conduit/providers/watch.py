"""The clock over one stream: to its first content, between its pieces, and in all."""

from asyncio import CancelledError, TimerHandle, get_running_loop
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import ClientResponse

from conduit.core.errors import UpstreamTimeout
from conduit.core.protocols import Timeouts


class Watch:
    """Use as a context manager around reading. Closes the response when time is up, and then raises UpstreamTimeout.

    One timer a stream, that looks when something may be due: a piece that comes costs a look at the clock.
    """

    def __init__(
        self, response: ClientResponse, timeouts: Timeouts, *, asked_s: float, begun: Callable[[], bool]
    ) -> None:
        """`asked_s`: on the loop's clock. `begun`: whether there was any content."""
        self._response, self._begun, self._idle_s = response, begun, min(timeouts.idle_s, timeouts.total_s)
        self._loop = get_running_loop()
        self._last_s = self._loop.time()
        self._end_s = asked_s + timeouts.total_s
        self._first_s = min(asked_s + timeouts.first_content_s, self._end_s)
        self._late = False
        self._timer: TimerHandle | None = None

    def heard(self) -> None:
        """A piece came."""
        self._last_s = self._loop.time()

    def __enter__(self) -> Self:
        self._look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._late and not isinstance(error, CancelledError | GeneratorExit):
            raise UpstreamTimeout("timed out") from None

    def _look(self) -> None:
        due_s = min(self._last_s + self._idle_s, self._end_s) if self._begun() else self._first_s
        if due_s > self._loop.time():
            # The first content may come long before it is due, and from then on less time is allowed.
            self._timer = self._loop.call_at(min(due_s, self._loop.time() + self._idle_s), self._look)
        else:
            self._late = True
            self._response.close()
