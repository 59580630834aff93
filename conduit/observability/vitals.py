"""What nobody announces, and has to be looked at: queues, and who is left alone."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from conduit.observability import metrics as m
from conduit.observability.samples import Samples

INTERVAL_S = 1.0


class Vitals:
    """Looks once a second: other processes' /metrics read it here. `models` are those that can be left alone."""

    def __init__(
        self,
        samples: Samples,
        *,
        models: Callable[[], Iterable[str]],
        unavailable: Callable[[], Mapping[str, str]],
        queued: Callable[[], int],
    ) -> None:
        self._samples, self._models, self._unavailable, self._queued = samples, models, unavailable, queued

    def look(self) -> None:
        alone = self._unavailable()
        for model in self._models():
            self._samples.put(m.BREAKER_OPEN, (model,), float(model in alone))
        self._samples.put(m.QUEUE, (), float(self._queued()))
        self._samples.put(m.WORKERS, (), 1.0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(INTERVAL_S)
