"""What `conduit evaluate` looks at: ratings, and failures in their proportion."""

import random

import numpy as np
import pytest

from conduit.bench.off_policy import evaluate
from conduit.cli.evaluate import evidence
from conduit.routing.beliefs import Beliefs
from conduit.routing.catalogue import Catalogue, Model, Price
from conduit.routing.decision import Attempt, Feedback, Lesson, Outcome, Record, Status
from conduit.routing.query import Preferences, Query
from conduit.routing.router import Router
from conduit.routing.system import CountingIds
from conduit.testing import StillClock

PRICE = Price(1.0, 1.0)
MODELS = [Model("bad", "p", price=PRICE), Model("good", "p", price=PRICE)]
CATALOGUE = Catalogue(MODELS)
GOOD, BAD, FAILS = 0.6, 0.9, 0.5


def records(n: int, *, rated: float, falls_back: bool, seed: int = 0) -> list[Record]:
    """Of an even draw; `bad` answers better than `good` when it answers, which is every other time."""
    chance = random.Random(seed)
    router = Router(MODELS, policy="uniform", seed=seed, clock=StillClock(), ids=CountingIds())
    return [_record(router, i, chance, rated=rated, falls_back=falls_back) for i in range(n)]


def _record(router: Router, i: int, chance: random.Random, *, rated: float, falls_back: bool) -> Record:
    decision = router.choose(Query(f"prompt {i}"))
    fails = decision.model == "bad" and chance.random() < FAILS
    model = "good" if fails and falls_back else decision.model
    status = Status.FAILED if fails and not falls_back else Status.ANSWERED
    failures = (Attempt(decision.model, 0.1, "500", counts=True),) if fails else ()
    cost_usd = 0.0 if status is Status.FAILED else 1e-3
    outcome = Outcome(decision.id, 0.0, model, status, failures, output_tokens=10, cost_usd=cost_usd)
    if status is Status.FAILED or chance.random() >= rated:
        return Record(decision, outcome, None)
    quality = BAD if model == "bad" else GOOD
    lesson = (Lesson(quality, 1.0),)
    return Record(
        decision, outcome, Feedback("f", decision.id, 1, 0.0, quality, model=model, weight=1.0, lessons=lesson)
    )


@pytest.mark.parametrize("falls_back", [True, False])
@pytest.mark.parametrize(("n", "rated"), [(1000, 1.0), (4000, 0.25)])
def test_a_model_that_fails_is_judged_by_its_failures_too(n: int, rated: float, falls_back: bool) -> None:
    """As its beliefs are: a failure is quality 0, however few of the answers are rated."""
    log = evidence(records(n, rated=rated, falls_back=falls_back), CATALOGUE)
    assert len(log) == pytest.approx(1000, rel=0.15)
    for name, truth in (("bad", BAD * (1.0 - FAILS)), ("good", GOOD)):
        seen = [entry.observation.quality for entry in log if entry.observation.model == name]
        assert np.mean(seen) == pytest.approx(truth, abs=0.06)  # 4 standard errors of 500 draws, and then some
        beliefs = Beliefs(f"fixed:{name}", Router(MODELS).features, CATALOGUE)
        found = evaluate(log, beliefs=beliefs, catalogue=CATALOGUE, preferences=Preferences())
        assert found.quality.doubly_robust.value == pytest.approx(truth, abs=0.08)
        assert (found.quality.difference.low > 0) == (name == "good")
        assert found.cost_usd is not None


def test_what_was_not_routed_or_rated_or_is_gone_is_left_out() -> None:
    made = records(200, rated=0.0, falls_back=True)
    assert evidence(made, CATALOGUE) == []  # failures alone say nothing of who is better
    assert evidence(records(200, rated=1.0, falls_back=True), Catalogue(MODELS[:1])) == []
