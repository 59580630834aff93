"""Numbers as Prometheus reads them: text exposition format 0.0.4."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from conduit.observability.metrics.metrics import METRICS, Metric, exposed_label
from conduit.observability.metrics.samples import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def exposition(numbers: Mapping[Series, Sequence[float]]) -> str:
    """Every declared metric has its HELP and TYPE; one without labels is there from the start, as 0."""
    found: dict[Metric, list[tuple[tuple[str, ...], Sequence[float]]]] = {metric: [] for metric in METRICS}
    for (metric, labels), values in numbers.items():
        found[metric].append((labels, values))
    return "".join(f"{line}\n" for metric, series in found.items() for line in _family(metric, series))


def _family(metric: Metric, series: list[tuple[tuple[str, ...], Sequence[float]]]) -> Iterator[str]:
    name = metric.exposed_name
    yield f"# HELP {name} {metric.help}"
    yield f"# TYPE {name} {metric.kind}"
    if not series and not metric.labels and metric.kind == "counter":
        yield f"{name} 0"
    names = [exposed_label(label) for label in metric.labels]
    for labels, values in sorted(series):
        pairs = [f'{label}="{value.translate(ESCAPES)}"' for label, value in zip(names, labels, strict=True)]
        yield from _lines(metric, pairs, values)


def _lines(metric: Metric, pairs: list[str], values: Sequence[float]) -> Iterator[str]:
    name = metric.exposed_name
    if metric.kind == "histogram":
        counts = list(accumulate(values[:-1]))
        bounds = (*(repr(bound / metric.exposed_per) for bound in metric.buckets), "+Inf")
        for bound, count in zip(bounds, counts, strict=True):
            within = f'le="{bound}"'
            yield f"{name}_bucket{_braced([*pairs, within])} {_number(count)}"
        yield f"{name}_sum{_braced(pairs)} {_number(values[-1] / metric.exposed_per)}"
        yield f"{name}_count{_braced(pairs)} {_number(counts[-1])}"
    elif metric.kind == "summary":
        yield f"{name}_sum{_braced(pairs)} {_number(values[0])}"
        yield f"{name}_count{_braced(pairs)} {_number(values[1])}"
    else:
        yield f"{name}{_braced(pairs)} {_number(values[0])}"


def _braced(pairs: list[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
