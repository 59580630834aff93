"""The queue to a collector: bounded, and never waited for."""

import asyncio

import pytest

from conduit.observability.metrics.metrics import DROPPED
from conduit.observability.metrics.samples import Samples
from conduit.observability.tracing import exporter
from conduit.observability.tracing.exporter import Destination, Exporter
from conduit.testing import StillClock
from tests.support.collector import Collector
from tests.unit.observability.test_tracing import Seen


def exporting(url: str) -> tuple[Exporter, Samples, list[object]]:
    samples, events = Samples(), list[object]()
    found = Exporter(
        Destination(url, {"x-key": "v"}),
        {"service.name": "s"},
        samples=samples,
        numbers_every_s=None,
        clock=StillClock(),
        listener=events.append,
    )
    return found, samples, events


def spans(count: int) -> Seen:
    seen = Seen()
    for _ in range(count):
        seen.request()
    return seen


def begin(found: Exporter, count: int) -> None:
    """With so many spans that wait."""
    found.start()
    for span in spans(count).spans:
        found.take(span)


async def test_more_than_may_wait_is_let_go_and_counted() -> None:
    """The oldest are kept: they tell how it began."""
    found, samples, _ = exporting("http://127.0.0.1:9")
    seen = spans(exporter.WAITING + 5)
    for span in seen.spans:
        found.take(span)
    assert dict(samples.read())[DROPPED, ("traces",)] == [5]
    with Collector() as collector:
        found._destination = Destination(collector.url + "/", {})
        found.start()
        await found.send_spans()  # which takes as long as it takes: what is left at the end is given little time
        await found.stop()
        arrived = sorted(span.span_id for span in collector.spans)
        assert arrived == sorted(span.id.hex() for span in seen.spans[: exporter.WAITING])


async def test_a_collector_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, and nothing sent twice."""
    monkeypatch.setattr(exporter, "WAIT_S", 0.01)
    with Collector() as collector:
        found, samples, events = exporting(collector.url)
        found.start()
        found.take(spans(1).spans[0])
        collector.status = 503
        await found.send_spans()
        assert collector.refused == exporter.TRIES
        assert dict(samples.read())[DROPPED, ("traces",)] == [1]
        assert len(events) == 1
        collector.status = 200
        found.take(spans(1).spans[0])
        await found.stop()
        assert len(collector.spans) == 1


async def test_nobody_at_the_other_end_costs_no_more_than_the_last_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway stops all the same, and says how much was lost."""
    monkeypatch.setattr(exporter, "WAIT_S", 0.01)
    found, samples, _ = exporting("http://127.0.0.1:9")
    begin(found, 3)
    await found.stop()
    assert dict(samples.read())[DROPPED, ("traces",)] == [3]


async def test_what_is_on_its_way_when_the_last_wait_is_over_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say whether it arrives; what was never sent is lost as well."""
    monkeypatch.setattr(exporter, "LAST_S", 0.05)
    with Collector() as collector:
        collector.hold()
        found, samples, _ = exporting(collector.url)
        begin(found, exporter.BATCH + 3)
        await found.stop()
        collector.released.set()
    assert dict(samples.read())[DROPPED, ("traces",)] == [exporter.BATCH + 3]


async def test_what_is_being_sent_when_the_gateway_stops_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once."""
    monkeypatch.setattr(exporter, "INTERVAL_S", 0.001)
    with Collector() as collector:
        collector.hold()
        found, samples, _ = exporting(collector.url)
        begin(found, 3)
        async with asyncio.timeout(10):
            while found.waiting:  # noqa: ASYNC110  the exporter takes it when it does
                await asyncio.sleep(0.001)
        collector.released.set()
        await found.stop()
        assert len(collector.spans) == 3
    assert (DROPPED, ("traces",)) not in dict(samples.read())
