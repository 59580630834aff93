"""Within a session a switch of model must be worth more than what it loses."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import Model, Preferences, Price, Query, Router
from conduit.routing.decision import Decision
from conduit.routing.query import Incumbent
from conduit.routing.system import CountingIds, StillClock

TWINS = [Model(name, "p", price=Price(1.0, 2.0, 0.1)) for name in ("one", "two")]
TEXT = "and what came of it?"


def router(*, seed: int = 1, policy: str = "hierarchical") -> Router:
    return Router(TWINS, policy=policy, seed=seed, clock=StillClock(5.0), ids=CountingIds())


def asked(incumbent: Incumbent | None, *, tokens: int = 5, preferences: Preferences | None = None) -> Query:
    wanted = preferences or Preferences()
    return Query(TEXT, input_tokens=tokens, session_id="talk", incumbent=incumbent, preferences=wanted)


def share(decision: Decision, name: str) -> float:
    return next(c.probability for c in decision.candidates if c.model == name)


def test_of_two_alike_the_sessions_last_is_drawn_more_and_with_the_probability_that_is_recorded() -> None:
    r = router()
    decision = r.choose(asked(Incumbent("two", stickiness=0.02)))
    p = share(decision, "two")
    assert share(r.choose(asked(None)), "two") == pytest.approx(0.5)
    assert p > 0.6
    drawn = Counter(r.choose(asked(Incumbent("two", stickiness=0.02))).model for _ in range(1000))
    assert abs(drawn["two"] / 1000 - p) <= 4 * math.sqrt(p * (1 - p) / 1000)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_more_a_switch_must_gain_the_likelier_the_last_stays(one: float, other: float) -> None:
    less, more = sorted((one, other))
    r = router()
    kept = [share(r.choose(asked(Incumbent("two", stickiness=s))), "two") for s in (less, more)]
    assert kept[0] <= kept[1] + 1e-12


def test_tokens_at_hand_make_the_last_cheaper_by_what_they_save() -> None:
    """9,000 of 10,000 tokens at a tenth of a dollar a million in the place of a dollar."""
    costs = {c.model: c.cost_usd for c in router().choose(asked(Incumbent("two", 9_000), tokens=10_000)).candidates}
    assert costs["one"] is not None
    assert costs["two"] == pytest.approx(costs["one"] - 9_000 * 0.9e-6)


def test_no_more_is_at_hand_than_is_asked() -> None:
    costs = {c.model: c.cost_usd for c in router().choose(asked(Incumbent("two", 9_000), tokens=100)).candidates}
    assert costs["one"] is not None
    assert costs["two"] == pytest.approx(costs["one"] - 100 * 0.9e-6)


def test_who_cares_for_nothing_but_quality_sticks_for_its_worth_and_not_for_dollars() -> None:
    only = Preferences(quality=1.0, cost=0.0, latency=0.0)
    utility = {
        c.model: c.utility
        for c in router().choose(asked(Incumbent("two", 9_000, 0.02), tokens=10_000, preferences=only)).candidates
    }
    assert utility["two"] - utility["one"] == pytest.approx(0.02)


def test_a_last_model_that_cannot_be_drawn_changes_nothing() -> None:
    r = router()
    with_it, without = r.choose(asked(Incumbent("gone", 9_000, 0.5))), r.choose(asked(None))
    assert [c[:6] for c in with_it.candidates] == [c[:6] for c in without.candidates]
    assert with_it.why.split(";")[0] == without.why.split(";")[0]
    assert "session" not in with_it.why


def test_the_decision_says_what_the_session_had_to_do_with_it() -> None:
    stays = Router(TWINS, policy="fixed:two", seed=1).choose(asked(Incumbent("two", stickiness=0.02)))
    leaves = Router(TWINS, policy="fixed:one", seed=1).choose(asked(Incumbent("two", stickiness=0.02)))
    assert stays.why.endswith("; the session's last, from which a switch had to gain 0.02 of quality")
    assert leaves.why.endswith("; a switch from two, the session's last")


def test_cached_tokens_cost_their_price_and_never_more_than_others() -> None:
    assert Price(1.0, 2.0, 0.1).cost_usd(1000, 0, 400) == pytest.approx((600 * 1.0 + 400 * 0.1) / 1e6)
    assert Price(1.0, 2.0, 0.1).cost_usd(1000, 0, 5000) == pytest.approx(1000 * 0.1 / 1e6)
    assert Price(1.0, 2.0).cost_usd(1000, 0, 400) == pytest.approx(1000 / 1e6)
    assert Price(1.0, 2.0, 3.0).cost_usd(1000, 0, 400) == pytest.approx(1000 / 1e6)
