"""The router: honest draws, hard requirements, and learning that moves the choice."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit import Model, Preferences, Price, Query, Requirements, Router
from conduit.routing.decision import Decision
from conduit.routing.errors import ConfigurationError, NoEligibleModel, NotFound
from conduit.routing.policies import POLICIES
from conduit.routing.system import CountingIds, StillClock

CHEAP = Model("cheap", "p", price=Price(0.1, 0.4), context_window=1000, abilities=frozenset({"json"}))
DEAR = Model("dear", "q", price=Price(10.0, 40.0), context_window=100_000, abilities=frozenset({"json", "tools"}))
UNPRICED = Model("unpriced", "q")


def router(*models: Model, policy: str = "hierarchical", seed: int = 1, **more) -> Router:
    return Router(models or (CHEAP, DEAR), policy=policy, seed=seed, clock=StillClock(5.0), ids=CountingIds(), **more)


def require(**requirements) -> Query:
    return Query("hello there", requirements=Requirements(**requirements))


@pytest.mark.parametrize("policy", [*POLICIES, "fixed:dear"])
def test_every_policy_chooses_with_the_probability_it_reports(policy: str) -> None:
    """Over 1000 draws each model's share is its recorded propensity, within four standard errors."""
    r = router(policy=policy)
    drawn = Counter(r.choose("hello there").model for _ in range(1000))
    for candidate in r.choose("hello there").candidates:
        p = candidate.probability
        assert abs(drawn[candidate.model] / 1000 - p) <= 4 * math.sqrt(p * (1 - p) / 1000) + 1e-12


@pytest.mark.parametrize("policy", [*POLICIES, "fixed:dear"])
def test_every_policy_learns_through_the_same_door(policy: str) -> None:
    """A hundred observations later every policy still gives a distribution over whoever is eligible."""
    r = router(policy=policy)
    for n in range(100):
        r.learn(r.choose(f"prompt {n}").observation(quality=n % 2, output_tokens=50, latency_s=0.5, cost_usd=1e-3))
    decision = r.choose("another")
    assert sum(c.probability for c in decision.candidates) == pytest.approx(1)
    assert {c.model for c in decision.candidates} == {"cheap", "dear"}


def play(r: Router, n: int = 60) -> list[Decision]:
    decisions = []
    for i in range(n):
        decisions.append(decision := r.choose(f"prompt number {i}"))
        r.learn(decision.observation(quality=0.9 if decision.model == "dear" else 0.3, output_tokens=40 + i))
    return decisions


def test_same_seed_and_same_ledger_give_the_same_decisions() -> None:
    first, second = play(router()), play(router())
    assert [(d.id, d.model, d.propensity, d.candidates) for d in first] == [
        (d.id, d.model, d.propensity, d.candidates) for d in second
    ]
    assert [d.model for d in first] != [d.model for d in play(router(seed=2))]


def test_feedback_moves_the_choice_to_the_better_model() -> None:
    r = router()
    play(r, 200)
    decision = r.choose(Query("prompt number 7", preferences=Preferences.preset("quality")))
    dear = next(c for c in decision.candidates if c.model == "dear")
    assert dear.probability > 0.9
    assert dear.quality == pytest.approx(0.9, abs=0.1)


def test_a_preset_weighs_a_hundredfold_price() -> None:
    """At equal quality `cost` asks the cheap model nearly always."""
    r = router()
    for i in range(100):
        for decision in (r.assign(Query(f"p {i}"), "cheap"), r.assign(Query(f"p {i}"), "dear")):
            r.learn(decision.observation(quality=0.7, output_tokens=400))
    chosen = r.choose(Query("p 5", preferences=Preferences.preset("cost")))
    assert next(c for c in chosen.candidates if c.model == "cheap").probability > 0.95


@pytest.mark.parametrize(
    ("query", "removed"),
    [
        (require(deny=frozenset({"dear"})), {"dear": "deny: listed"}),
        (require(allow=frozenset({"dear"})), {"cheap": "allow: not listed"}),
        (require(needs=frozenset({"tools"})), {"cheap": "needs: no tools"}),
        (require(preferred_provider="q"), {"cheap": "preferred_provider: not q"}),
        (require(preferred_provider="nobody"), {}),
        (require(max_cost_usd=0.001), {"dear": "max_cost: "}),
        (require(max_latency_s=0.001), {}),
        (Query("hi", input_tokens=5000), {"cheap": "context_window: 5000 tokens needed, 1000 there"}),
        (Query("hi", input_tokens=900, max_output_tokens=200), {"cheap": "context_window: 1100"}),
    ],
)
def test_requirements_remove_before_scoring_and_say_whom(query: Query, removed: dict[str, str]) -> None:
    decision = router().choose(query)
    assert set(decision.removed) == set(removed)
    assert all(decision.removed[m].startswith(reason) for m, reason in removed.items())
    assert {c.model for c in decision.candidates} == {"cheap", "dear"} - set(removed)


def test_an_unknown_price_is_never_free() -> None:
    """With a bound on cost an unpriced model is removed; without one it weighs as the dearest."""
    r = router(CHEAP, DEAR, UNPRICED)
    assert r.choose(require(max_cost_usd=1.0)).removed == {"unpriced": "max_cost: price unknown"}
    by_name = {c.model: c for c in r.choose("hi").candidates}
    assert by_name["unpriced"].cost_usd is None
    lost = {name: c.quality - c.utility for name, c in by_name.items()}
    assert lost["unpriced"] == pytest.approx(lost["dear"])


def test_min_quality_removes_only_whom_it_is_sure_of() -> None:
    r = router()
    assert r.choose(require(min_quality=0.8)).removed == {}
    for i in range(200):
        r.learn(r.assign(Query(f"p {i}"), "cheap").observation(quality=0.1))
    assert set(r.choose(require(min_quality=0.8)).removed) == {"cheap"}


def test_where_one_is_known_to_be_good_enough_min_quality_removes_whom_it_believes_to_be_worse() -> None:
    r = router()
    for i in range(200):
        r.learn(r.assign(Query(f"p {i}"), "cheap").observation(quality=0.9))
    for i in range(15):
        r.learn(r.assign(Query(f"p {i}"), "dear").observation(quality=0.1))
    believed = {c.model: c.quality for c in r.choose("p").candidates}
    needed = (believed["cheap"] + believed["dear"]) / 2.0
    assert believed["dear"] < needed < believed["cheap"]
    assert r.choose(Query("p", requirements=Requirements(min_quality=needed))).removed.keys() == {"dear"}
    for only in ({"deny": frozenset({"cheap"})}, {"allow": frozenset({"dear"})}):
        wanted = Requirements(min_quality=needed, **only)
        assert r.choose(Query("p", requirements=wanted)).removed.keys() == {"cheap"}


def test_latency_forecasts_come_from_what_was_seen() -> None:
    r = router()
    for i in range(60):
        r.learn(r.assign(Query(f"p {i}"), "cheap").observation(latency_s=0.2))
        r.learn(r.assign(Query(f"p {i}"), "dear").observation(latency_s=20.0))
    assert set(r.choose(require(max_latency_s=5.0)).removed) == {"dear"}


def test_nobody_left_is_an_error_that_names_who_removed_whom() -> None:
    with pytest.raises(NoEligibleModel) as caught:
        router().choose(require(deny=frozenset({"cheap"}), needs=frozenset({"vision"})))
    assert caught.value.removed == {"cheap": "deny: listed", "dear": "needs: no vision"}


def test_unhealthy_models_are_passed_over_unless_nobody_else_is_left() -> None:
    r = router()
    assert r.choose("hi", unavailable={"dear": "unhealthy"}).removed == {"dear": "unhealthy"}
    assert r.choose("hi", unavailable={"dear": "unhealthy", "cheap": "unhealthy"}).removed == {}


def test_a_preferred_provider_that_is_unhealthy_yields() -> None:
    decision = router().choose(require(preferred_provider="q"), unavailable={"dear": "unhealthy"})
    assert (decision.model, decision.removed) == ("cheap", {"dear": "unhealthy"})


def test_a_named_model_is_recorded_and_is_no_choice() -> None:
    decision = router().assign(Query("hi"), "dear")
    assert (decision.model, decision.propensity, decision.routed) == ("dear", 1.0, False)
    with pytest.raises(NotFound):
        router().assign(Query("hi"), "absent")


def test_an_observation_of_other_features_is_passed_over() -> None:
    from dataclasses import replace

    r = router()
    r.learn(replace(r.choose("hi").observation(quality=1.0), features="of-another-age", context=np.ones(3)))
    assert r.beliefs.folded == 0


def test_a_retraction_undoes() -> None:
    from dataclasses import replace

    r, untouched = router(), router()
    said = r.choose("hi").observation(quality=1.0)
    r.fold(said)
    r.fold(replace(said, weight=-1.0))
    r.beliefs.refresh()
    assert r.choose("hi").candidates[0].quality == pytest.approx(untouched.choose("hi").candidates[0].quality)


def test_a_budget_holds_spending() -> None:
    """A model that is better but costs a hundredfold is asked just so often that the budget lasts (within 5 %)."""
    r = router(budget_usd=0.002)
    spent = []
    for i in range(1500):
        decision = r.choose(Query(f"p {i}", preferences=Preferences(1, 0, 0)))
        cost = 0.010 if decision.model == "dear" else 0.0001
        spent.append(cost)
        r.learn(
            decision.observation(quality=0.9 if decision.model == "dear" else 0.5, output_tokens=250, cost_usd=cost)
        )
    assert sum(spent) / len(spent) == pytest.approx(0.002, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_a_budget_is_not_spent_on_one_answer(seed: int) -> None:
    """`dear` costs 100 times the budget: nobody asks it, and the decision says why, before 10,000 were paid."""
    r = router(seed=seed, budget_usd=1e-4)
    for i in range(200):
        decision = r.choose(Query(f"p {i}", preferences=Preferences(1, 0, 0)))
        assert decision.model == "cheap"
        assert decision.propensity == 1.0
        assert decision.removed["dear"].startswith(
            "one answer may cost 0.0016 USD under the budget, and would cost 0.0"
        )
        r.learn(decision.observation(quality=0.1, output_tokens=250, cost_usd=1e-4))


def test_the_cheapest_is_asked_however_dear_it_is() -> None:
    """A budget that is paced refuses nobody."""
    assert router(DEAR, budget_usd=1e-9).choose("hi").model == "dear"


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_first_belief_is_found_out(seed: int) -> None:
    """Before any rating the cheap model looks better; rated .3 against .9 it is left for the dear one in nine of ten
    requests after 400 (seen: .97 or more)."""
    small, large = Model("small", "p", price=Price(0.2, 0.6)), Model("large", "p", price=Price(3.0, 15.0))
    r, chance = router(small, large, seed=seed), random.Random(seed)
    assert next(c for c in r.choose("hi").candidates if c.model == "small").probability > 0.9
    chosen = []
    for i in range(500):
        decision = r.choose(f"prompt number {i}")
        chosen.append(decision.model)
        good = chance.random() < (0.9 if decision.model == "large" else 0.3)
        r.learn(decision.observation(quality=float(good), output_tokens=300, latency_s=1.0))
    assert chosen[400:].count("large") >= 90


@pytest.mark.parametrize("name", ["best", "fixed", ""])
def test_an_unknown_policy_is_named_with_the_remedy(name: str) -> None:
    with pytest.raises(ConfigurationError, match="hierarchical"):
        router(policy=name)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=300),
    quality=st.floats(0, 1),
    tokens=st.floats(0, 1e12),
    latency=st.floats(0, 1e9),
    cost=st.floats(0, 1e9),
)
def test_nothing_that_is_learned_breaks_the_next_choice(
    text: str, quality: float, tokens: float, latency: float, cost: float
) -> None:
    """Whatever is folded, probabilities stay a distribution and no forecast is not a number."""
    r = router(budget_usd=0.01)
    for _ in range(3):
        decision = r.choose(text)
        r.learn(decision.observation(quality=quality, output_tokens=tokens, latency_s=latency, cost_usd=cost))
    last = r.choose(text)
    assert sum(c.probability for c in last.candidates) == pytest.approx(1)
    assert all(math.isfinite(c.utility) and c.probability > 0 for c in last.candidates)
