"""What nobody announces, and has to be looked at: queues, and who is left alone."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from conduit.observability import metrics as m
from conduit.observability.samples import Samples

INTERVAL_S = 1.0


class Vitals:
    """Looks once a second: other processes' /metrics read it here. `models` can be left alone, `catch_up`
    counts what was put off."""

    def __init__(
        self,
        samples: Samples,
        *,
        models: Callable[[], Iterable[str]],
        unavailable: Callable[[], Mapping[str, str]],
        queued: Callable[[], int],
        spooled: Callable[[], int],
        catch_up: Callable[[], None],
    ) -> None:
        self._samples, self._models, self._unavailable = samples, models, unavailable
        self._queued, self._spooled, self._catch_up = queued, spooled, catch_up

    def look(self) -> None:
        self._catch_up()
        alone = self._unavailable()
        for model in self._models():
            self._samples.put(m.BREAKER_OPEN, (model,), float(model in alone))
        self._samples.put(m.QUEUE, (), float(self._queued()))
        self._samples.put(m.SPOOL, (), float(self._spooled()))
        self._samples.put(m.WORKERS, (), 1.0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(INTERVAL_S)
