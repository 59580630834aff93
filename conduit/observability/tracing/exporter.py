"""What was seen goes to a collector, behind the requests: a bounded queue; what does not fit is counted and let go."""

import asyncio
import gzip
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar

from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.observability.metrics.metrics import DROPPED
from conduit.observability.metrics.samples import Samples
from conduit.observability.tracing import otlp
from conduit.observability.tracing.spans import Span
from conduit.routing.protocols import Clock

WAITING = 8192
"""Spans that may wait: a second of a thousand requests."""
BATCH = 2048
AT_ONCE = 64
"""Spans written without giving way: half a millisecond."""
WRITE_INTERVAL_S = 0.1
INTERVAL_S = 0.5
TIMEOUT_S = 10.0
LAST_S = 2.0
"""For what is left when the gateway stops."""
TRIES = 4
WAIT_S = 0.5
AGAIN = frozenset({429, 502, 503, 504})
"""Answers after which OTLP says to try again."""
SPANS, NUMBERS = "traces", "metrics"


@dataclass(frozen=True, slots=True)
class Destination:
    """An OTLP/HTTP endpoint, to which /v1/traces and /v1/metrics are appended."""

    endpoint: str
    headers: Mapping[str, str]

    def url(self, signal: str) -> str:
        return f"{self.endpoint.rstrip('/')}/v1/{signal}"


class Exporter:
    """`resource` says who reports; `numbers_every_s` is how often the counts in `samples` are sent, None for never."""

    def __init__(
        self,
        destination: Destination,
        resource: otlp.Attributes,
        *,
        samples: Samples,
        numbers_every_s: float | None,
        clock: Clock,
        listener: Listener,
    ) -> None:
        self._destination, self._resource, self._samples = destination, resource, samples
        self._numbers_every_s, self._clock, self._listener = numbers_every_s, clock, listener
        self._ended: list[Span] = []
        self._spans: deque[bytes] = deque()
        self._since_ns = int(clock.now_s() * 1e9)
        self._failing: dict[str, str] = {}
        self._session: ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._enough = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Spans that were taken and not yet sent."""
        return len(self._spans) + len(self._ended)

    def take(self, span: Span) -> None:
        """Never waits. Written later, many at once: that takes a quarter of the time."""
        if len(self._spans) + len(self._ended) < WAITING:
            self._ended.append(span)
        else:
            self._drop(SPANS)

    def start(self) -> None:
        headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip", "user-agent": "conduit"}
        self._session = self._session or ClientSession(
            headers={**headers, **self._destination.headers},
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=TIMEOUT_S),
        )
        self._enough.clear()
        self._tasks = [
            asyncio.create_task(self._every(WRITE_INTERVAL_S, self._write), name="writing of traces"),
            asyncio.create_task(self._every(INTERVAL_S, self.send_spans), name="export of traces"),
        ]
        if self._numbers_every_s is not None:
            numbers = self._every(self._numbers_every_s, self.send_numbers)
            self._tasks.append(asyncio.create_task(numbers, name="export of metrics"))

    async def pause(self) -> None:
        """Until it is started again. What is being sent is sent."""
        self._enough.set()
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Send what is left, if that is quickly done."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self.pause()
                await self.send_spans()
                if self._numbers_every_s is not None:
                    await self.send_numbers()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # those that the time was over for
        if self.waiting:
            self._drop(SPANS, self.waiting)
        if self._session is not None:
            await self._session.close()

    async def send_spans(self) -> None:
        """All that wait."""
        await self._write()
        while self._spans:
            batch = [self._spans.popleft() for _ in range(min(len(self._spans), BATCH))]
            arrived = False
            try:
                arrived = await self._post(SPANS, otlp.traces(self._resource, batch))
            finally:
                if not arrived:  # also when it was interrupted
                    self._drop(SPANS, len(batch))

    async def _write(self) -> None:
        """Also while nothing can be sent: objects that wait would burden Python's collector, bytes do not."""
        while self._ended:
            some, self._ended = self._ended[:AT_ONCE], self._ended[AT_ONCE:]
            self._spans.extend(map(otlp.encoded_span, some))
            await asyncio.sleep(0)

    async def send_numbers(self) -> None:
        """Everything as it stands; what is lost is made good by the next."""
        now_ns = int(self._clock.now_s() * 1e9)
        body = otlp.metrics(self._resource, self._samples.read(), since_ns=self._since_ns, now_ns=now_ns)
        if not await self._post(NUMBERS, body):
            self._drop(NUMBERS)

    # -------------------------------------------------------------- the wire

    async def _every(self, interval_s: float, send: Callable[[], Awaitable[None]]) -> None:
        while not await self._enough_within(interval_s):
            try:
                await send()
            except Exception as error:  # noqa: BLE001  a loop in the background: without it nothing is ever sent again
                self._listener(Degraded("telemetry", type(error).__name__))

    async def _enough_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        return self._enough.is_set()

    async def _post(self, signal: str, body: bytes) -> bool:
        """Whether it arrived. Tried again while that may help, and while there is room for what comes meanwhile."""
        packed = await asyncio.to_thread(gzip.compress, body, 1)
        why = ""
        for attempt in range(TRIES):
            why, again = await self._try(signal, packed)
            if not again:
                break
            await asyncio.sleep(WAIT_S * 2**attempt)
        self._tell(signal, why)
        return not why

    async def _try(self, signal: str, packed: bytes) -> tuple[str, bool]:
        """What went wrong, and whether to try again."""
        assert self._session is not None, "started"
        try:
            async with self._session.post(
                self._destination.url(signal), data=packed, allow_redirects=False
            ) as response:
                await response.read()
        except TimeoutError:
            return "timed out", False  # each try holds up what comes next
        except (ClientError, OSError) as error:
            return type(error).__name__, True
        if 200 <= response.status < 300:
            return "", False
        return f"http {response.status}", response.status in AGAIN

    def _tell(self, signal: str, why: str) -> None:
        """Once when it begins, and once for each other reason."""
        if why and self._failing.get(signal) != why:
            self._listener(Degraded("telemetry", f"{signal} cannot be exported: {why}"))
        self._failing[signal] = why

    def _drop(self, signal: str, count: int = 1) -> None:
        self._samples.add(DROPPED, (signal,), count)
