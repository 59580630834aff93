"""What /metrics says, read by Prometheus's own client library."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from conduit.observability.metrics import metrics as m
from conduit.observability.metrics.metrics import METRICS
from conduit.observability.metrics.prometheus import exposition
from conduit.observability.metrics.samples import Samples

NASTY = 'a "quoted" \\ name\twith\nlines'


def told(samples: Samples) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(exposition(dict(samples.read()))[0].decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_a_counter_a_gauge_and_a_summary() -> None:
    """Names carry their units; fractions stay whole."""
    samples = Samples()
    samples.add(m.SPENT, ("gpt", "key_1"), 0.1)
    samples.add(m.SPENT, ("gpt", "key_1"), 0.2)
    samples.put(m.CAUGHT_UP, (), 1_700_000_000.25)
    samples.observe(m.REWARD, ("gpt",), 0.25)
    samples.observe(m.REWARD, ("gpt",), 0.5)
    said = told(samples)
    assert said["conduit_spent_usd_total", (("key", "key_1"), ("model", "gpt"))] == 0.1 + 0.2
    assert said["conduit_follower_caught_up_timestamp_seconds", ()] == 1_700_000_000.25
    assert said["conduit_feedback_quality_sum", (("model", "gpt"),)] == 0.75
    assert said["conduit_feedback_quality_count", (("model", "gpt"),)] == 2


def test_a_histogram_is_cumulative_and_its_bounds_belong_to_it() -> None:
    """A value on a bound is within it."""
    samples = Samples()
    for value in (0.001, 0.0005, 0.3, 99.0):
        samples.observe(m.OVERHEAD, ("/v1/route",), value)
    said = told(samples)

    def within(bound: str) -> float:
        return said["conduit_gateway_overhead_seconds_bucket", (("http_route", "/v1/route"), ("le", bound))]

    assert [within(bound) for bound in ("0.0005", "0.001", "0.25", "1.0", "+Inf")] == [1, 2, 2, 3, 4]
    assert said["conduit_gateway_overhead_seconds_count", (("http_route", "/v1/route"),)] == 4


def test_labels_may_hold_anything() -> None:
    """They come out as they went in, but for blanks."""
    samples = Samples()
    samples.add(m.DEGRADED, (NASTY,))
    assert told(samples)["conduit_degraded_total", (("what", " ".join(NASTY.split())),)] == 1


def test_every_metric_is_declared_before_anything_happened() -> None:
    """With a name of its own, and help."""
    families = list(text_string_to_metric_families(exposition({})[0].decode()))
    assert len(families) == len(METRICS) == len({m.name for m in METRICS})
    assert all(family.documentation and family.type != "unknown" for family in families)


@pytest.mark.parametrize(
    ("accept", "begins"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("application/json", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
        ("application/openmetrics-text", "application/openmetrics-text"),
    ],
)
def test_a_reader_gets_the_format_that_it_asks_for(accept: str, begins: str) -> None:
    """The same numbers in both, each read by its own parser."""
    samples = Samples()
    samples.add(m.SPENT, ("gpt", "key_1"), 0.1)
    samples.observe(m.OVERHEAD, ("/v1/route",), 0.001)
    text, content_type = exposition(dict(samples.read()), accept)
    assert content_type.startswith(begins)
    opened = content_type.startswith("application/openmetrics-text")
    families = list((openmetrics_families if opened else text_string_to_metric_families)(text.decode()))
    assert len(families) == len(METRICS)
    told = {s.name: s.value for family in families for s in family.samples}
    assert told["conduit_spent_usd_total"] == 0.1
    assert told["conduit_gateway_overhead_seconds_count"] == 1
