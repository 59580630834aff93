"""One process's numbers in a file of its own, which outlives it: a worker may die, what it counted may not."""

import hashlib
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from conduit.observability.metrics.metrics import METRICS, OTHER, UNCOUNTED, Metric, most_values

SLOTS = 16_384
"""Numbers (8 bytes each); the first two say how many series and how many bytes of names there are."""
NAMES_FROM = SLOTS * 8
SIZE = NAMES_FROM + (2 << 20)
HEADER = 2
SHAPE = hashlib.sha256(repr([(m.name, m.kind, m.labels, m.buckets) for m in METRICS]).encode()).hexdigest()[:12]
"""In names of files: processes of different versions do not read each other's."""
BY_NAME: Mapping[str, Metric] = {m.name: m for m in METRICS}

Series = tuple[Metric, tuple[str, ...]]
"""A metric and the values of its labels."""


class Samples:
    """Counts into shared memory: about a tenth of a microsecond each, and nothing to flush when the process dies.

    Without a `path` into memory of its own. Not for several threads.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._map = _mapped(path)
        self._values = memoryview(self._map)[:NAMES_FROM].cast("d")
        self._places: dict[Series, int] = {}
        self._together: dict[tuple[tuple[Metric, ...], tuple[str, ...]], tuple[int, ...]] = {}
        self._seen: dict[str, set[str]] = {}
        self._next = HEADER
        self._nowhere = self._place((UNCOUNTED, ()))

    def add(self, metric: Metric, labels: tuple[str, ...] = (), amount: float = 1.0) -> None:
        """Of a counter, or of a gauge that goes up and down."""
        place = self._places.get((metric, labels)) or self._place((metric, labels))
        self._values[place] += amount

    def put(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """Of a gauge, or of a counter that is kept elsewhere."""
        self._values[self._places.get((metric, labels)) or self._place((metric, labels))] = value

    def observe(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """Of a histogram or a summary."""
        place = self._places.get((metric, labels)) or self._place((metric, labels))
        if place == self._nowhere:
            self._values[place] += 1.0
        elif metric.kind == "histogram":
            self._values[place + bisect_left(metric.buckets, value)] += 1.0
            self._values[place + len(metric.buckets) + 1] += value
        else:
            self._values[place] += value
            self._values[place + 1] += 1.0

    def observe_all(self, metrics: tuple[Metric, ...], labels: tuple[str, ...], amounts: Sequence[float]) -> None:
        """Of several summaries with the same labels at once, which is three times as fast."""
        places = self._together.get((metrics, labels)) or self._place_all(metrics, labels)
        values = self._values
        for place, amount in zip(places, amounts, strict=False):
            values[place] += amount
            values[place + 1] += 1.0

    def read(self) -> Iterator[tuple[Series, Sequence[float]]]:
        """This process's own."""
        return parsed(memoryview(self._map))

    def close(self) -> None:
        """Nothing may be counted afterwards."""
        self._values.release()
        self._map.close()

    def _place_all(self, metrics: tuple[Metric, ...], labels: tuple[str, ...]) -> tuple[int, ...]:
        places = tuple(self._place((metric, labels)) for metric in metrics)
        if self._nowhere in places:  # whose place is one number wide
            self._values[self._nowhere] += len(metrics)
            return ()
        if len(self._together) < SLOTS:
            self._together[metrics, labels] = places
        return places

    def _place(self, series: Series) -> int:
        """A place of its own for a new series; for one too many, that of the uncounted."""
        metric, values = series
        bounded = tuple(self._bounded(label, value) for label, value in zip(metric.labels, values, strict=True))
        known = self._places.get((metric, bounded))
        if known is None:
            known = self._new((metric, bounded))
        if len(self._places) < 4 * SLOTS:  # the caller's own spelling, so that it is found at once next time
            self._places[series] = known
        return known

    def _new(self, series: Series) -> int:
        metric, values = series
        line = "\t".join([metric.name, *values]).encode() + b"\n"
        place, used = self._next, int(self._values[1])
        if place + metric.width > SLOTS or NAMES_FROM + used + len(line) > SIZE:
            return self._nowhere
        self._map[NAMES_FROM + used : NAMES_FROM + used + len(line)] = line
        self._values[1] += len(line)
        self._values[0] += 1.0  # last: a reader must find what it is told of
        self._next += metric.width
        self._places[series] = place
        return place

    def _bounded(self, label: str, value: str) -> str:
        seen = self._seen.setdefault(label, {OTHER})
        if value not in seen:
            if len(seen) > most_values(label):
                return OTHER
            seen.add(value)
        return " ".join(value.split())[:200] if value else ""


def parsed(raw: memoryview) -> Iterator[tuple[Series, Sequence[float]]]:
    """The series of one process, in the order in which they came."""
    values = raw[:NAMES_FROM].cast("d")
    count, used = int(values[0]), int(values[1])
    lines = bytes(raw[NAMES_FROM : NAMES_FROM + used]).split(b"\n")[:count]
    place = HEADER
    for line in lines:
        name, *labels = line.decode().split("\t")
        metric = BY_NAME[name]
        yield (metric, tuple(labels)), values[place : place + metric.width].tolist()
        place += metric.width


def _mapped(path: Path | None) -> mmap.mmap:
    if path is None:
        return mmap.mmap(-1, SIZE)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(fd, SIZE)  # sparse: only what is used takes memory
        return mmap.mmap(fd, SIZE)
    finally:
        os.close(fd)
