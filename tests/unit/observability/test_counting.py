"""What is counted of a decision and its outcome, and what has to be looked at."""

import pytest

from conduit import Model, Price, Router
from conduit.core.events import Decided, Settled
from conduit.observability.metrics import metrics as m
from conduit.observability.metrics.counting import CountingListener, Known
from conduit.observability.metrics.gauges import Gauges
from conduit.observability.metrics.metrics import Metric
from conduit.observability.metrics.samples import Samples
from conduit.routing.decision import Attempt, Outcome, Status
from conduit.routing.query import Query
from conduit.testing import StillClock

MODELS = [Model(name, "p", price=Price(usd, usd)) for name, usd in (("cheap", 1.0), ("dear", 100.0))]
PAID_USD = 0.002


def number(samples: Samples, metric: Metric, labels: tuple[str, ...] = ()) -> list[float]:
    return list(dict(samples.read()).get((metric, labels), []))


def test_savings_and_regret_are_those_of_the_decisions_that_were_made() -> None:
    """The baseline's forecast against what was paid; the best utility against the drawn; of routed answers only."""
    samples, router = Samples(), Router(MODELS, seed=1, clock=StillClock())
    listener = CountingListener(samples, StillClock(), Known(baseline=lambda: "dear"))
    decisions = [router.choose(f"Say {n}.") for n in range(20)]
    for decision in (*decisions, router.assign(Query("Say it."), "cheap")):
        attempts = (Attempt(decision.model, 0.1),)
        answer = Outcome(decision.id, 1.0, decision.model, Status.ANSWERED, attempts, 7, 3, cost_usd=PAID_USD)
        listener(Decided(decision))
        listener(Settled(decision, answer))
    forecast = [next(c.cost_usd or 0.0 for c in d.candidates if c.model == "dear") for d in decisions]
    given_up = [max(c.utility for c in d.candidates) - d.chosen.utility for d in decisions]
    assert 0 < sum(given > 0 for given in given_up) < 20
    assert number(samples, m.BASELINE_USD) == [pytest.approx(sum(forecast))]
    assert number(samples, m.COMPARED_USD) == [pytest.approx(20 * PAID_USD)]
    assert number(samples, m.REGRET) == [pytest.approx(sum(given_up)), 20]


def test_a_model_that_changed_is_flagged_until_it_is_believed_anew() -> None:
    """And whoever has not changed is told as well."""
    samples, changed = Samples(), {("cheap", "quality")}
    gauges = Gauges(
        samples,
        {m.TELEMETRY_QUEUE: lambda: 3},
        models=lambda: ["cheap", "dear"],
        unavailable=lambda: {"dear": "down"},
        changed=lambda: changed,
        catch_up=lambda: None,
    )
    gauges.look()
    assert number(samples, m.DRIFT, ("cheap", "quality")) == [1]
    assert number(samples, m.DRIFT, ("cheap", "tokens")) == number(samples, m.DRIFT, ("dear", "quality")) == [0]
    assert number(samples, m.BREAKER_OPEN, ("dear",)) == [1]
    assert number(samples, m.TELEMETRY_QUEUE) == [3]
    changed.clear()
    gauges.look()
    assert number(samples, m.DRIFT, ("cheap", "quality")) == [0]


def test_what_others_count_is_added_once() -> None:
    samples, hits = Samples(), [3]
    gauges = Gauges(
        samples,
        {},
        models=list,
        unavailable=dict,
        changed=set,
        catch_up=lambda: None,
        counts={m.FEATURES_HITS: lambda: hits[0]},
    )
    gauges.look()
    assert number(samples, m.FEATURES_HITS) == [3]
    hits[0] = 5
    gauges.look()
    gauges.look()
    assert number(samples, m.FEATURES_HITS) == [5]
