"""The queue to a collector: bounded, and never waited for."""

import pytest

from conduit.core.errors import ConfigurationError
from conduit.observability import exporter
from conduit.observability.exporter import Destination, Exporter, parsed_headers
from conduit.observability.metrics import DROPPED
from conduit.observability.samples import Samples
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
        await found.stop()
        assert [span.span_id for span in collector.spans] == [span.id.hex() for span in seen.spans[: exporter.WAITING]]


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
    found.start()
    for span in spans(3).spans:
        found.take(span)
    await found.stop()
    assert dict(samples.read())[DROPPED, ("traces",)] == [3]


def test_headers_are_read_as_opentelemetry_writes_them() -> None:
    """And a mistake is told without the secret."""
    assert parsed_headers("") == {}
    assert parsed_headers("a=b, X-Key = c%20d=e,") == {"a": "b", "x-key": "c d=e"}
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_HEADERS") as raised:
        parsed_headers("hunter2")
    assert "hunter2" not in str(raised.value)
