"""Numbers as Prometheus reads them: its own library writes the text, in the format that the reader asks for."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from conduit.observability.metrics.metrics import METRICS, Metric, exposed_label
from conduit.observability.metrics.samples import Series

Values = Sequence[float]


def exposition(numbers: Mapping[Series, Values], accept: str = "") -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics where the `accept` header names it, else Prometheus's format 0.0.4.

    Every declared metric has its HELP and TYPE; a counter without labels is there from the start, as 0.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(numbers))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Numbers(Collector):
    """What was counted in shared memory, as families of Prometheus's library."""

    def __init__(self, numbers: Mapping[Series, Values]) -> None:
        self._found: dict[Metric, list[tuple[tuple[str, ...], Values]]] = {metric: [] for metric in METRICS}
        for (metric, labels), values in numbers.items():
            self._found[metric].append((labels, values))

    def collect(self) -> Iterable[Family]:
        return (_family(metric, sorted(series)) for metric, series in self._found.items())


def _family(metric: Metric, series: list[tuple[tuple[str, ...], Values]]) -> Family:
    name, labels = metric.exposed_name, [exposed_label(label) for label in metric.labels]
    match metric.kind:
        case "histogram":
            histogram = HistogramMetricFamily(name, metric.help, labels=labels)
            for values, numbers in series:
                histogram.add_metric(values, _buckets(metric, numbers), numbers[-1] / metric.exposed_per)
            return histogram
        case "summary":
            summary = SummaryMetricFamily(name, metric.help, labels=labels)
            for values, (total, count) in series:
                summary.add_metric(values, int(count), total)
            return summary
        case kind:
            one = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, metric.help, labels=labels)
            absent = [((), (0.0,))] if kind == "counter" and not labels and not series else []
            for values, (number,) in (*series, *absent):
                one.add_metric(values, number)
            return one


def _buckets(metric: Metric, numbers: Values) -> list[tuple[str, float]]:
    """Upper bounds and how many values are within each, the last one being infinity."""
    bounds = (*(bound / metric.exposed_per for bound in metric.buckets), float("inf"))
    return list(zip(map(floatToGoString, bounds), accumulate(numbers[:-1]), strict=True))
