"""What nobody announces, and has to be looked at: queues, caches, who is left alone, and who has changed."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import product
from types import MappingProxyType

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from conduit.observability.metrics import metrics as m
from conduit.observability.metrics.metrics import Metric
from conduit.observability.metrics.samples import Samples, Series

INTERVAL_S = 1.0
SIGNALS = ("quality", "tokens", "latency")
"""In which a model may change."""
PROCESS: Mapping[str, Metric] = {
    metric.exposed_name: metric
    for metric in (
        *(m.CPU, m.VIRTUAL, m.RESIDENT, m.STARTED, m.OPEN_FDS, m.MOST_FDS),
        *(m.GC_COLLECTED, m.GC_UNCOLLECTABLE, m.GC_RUNS),
    )
}
"""By the names that Prometheus's libraries give them."""
NOTHING: Mapping[Metric, Callable[[], int]] = MappingProxyType({})


class Gauges:
    """Looks once a second: other processes' /metrics read it here. `numbers` are gauges without labels,
    `counts` counters that somebody else keeps. Of `models` some may be left alone, and some `changed` in a signal;
    `catch_up` counts what was put off."""

    def __init__(
        self,
        samples: Samples,
        numbers: Mapping[Metric, Callable[[], float]],
        *,
        models: Callable[[], Iterable[str]],
        unavailable: Callable[[], Mapping[str, str]],
        changed: Callable[[], Collection[tuple[str, str]]],
        catch_up: Callable[[], None],
        counts: Mapping[Metric, Callable[[], int]] = NOTHING,
    ) -> None:
        self._samples, self._numbers, self._models = samples, numbers, models
        self._counts, self._counted = counts, dict.fromkeys(counts, 0)
        self._unavailable, self._changed, self._catch_up = unavailable, changed, catch_up
        nowhere = CollectorRegistry()
        self._readers = (ProcessCollector(registry=nowhere), GCCollector(registry=nowhere))
        self._process: dict[Series, float] = {}

    def look(self) -> None:
        self._catch_up()
        alone, changed, models = self._unavailable(), self._changed(), tuple(self._models())
        for model in models:
            self._samples.put(m.BREAKER_OPEN, (model,), float(model in alone))
        for pair in product(models, SIGNALS):
            self._samples.put(m.DRIFT, pair, float(pair in changed))
        for metric, number in self._numbers.items():
            self._samples.put(metric, (), number())
        for metric, count in self._counts.items():
            before, self._counted[metric] = self._counted[metric], count()
            self._samples.add(metric, (), self._counted[metric] - before)
        self._samples.put(m.WORKERS, (), 1.0)
        self._look_at_process()

    def _look_at_process(self) -> None:
        """Prometheus's own readers of the operating system and of the garbage collector say it of this process; counted
        as everything else is, it is there of all workers."""
        for sample in (each for reader in self._readers for family in reader.collect() for each in family.samples):
            metric, labels = PROCESS[sample.name], tuple(sample.labels.values())
            if metric.kind == "counter":
                before = self._process.get((metric, labels), 0.0)
                self._samples.add(metric, labels, sample.value - before)
                self._process[metric, labels] = sample.value
            else:
                self._samples.put(metric, labels, sample.value)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(INTERVAL_S)
