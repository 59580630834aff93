"""Models come and go while the router runs: a newcomer is tried with care, and nobody is forgotten."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import Model, Preferences, Price, Query, Router
from conduit.routing.newcomers import DOUBT, FIRST_SHARE, KNOWN_AFTER, Newcomers
from conduit.routing.system import CountingIds, StillClock
from tests.support.plain import PlainFeatures

OLD = Model("old", "p", price=Price(1.0, 4.0))
OTHER = Model("other", "p", price=Price(1.0, 4.0))
NEW = Model("new", "p", price=Price(1.0, 4.0))
QUALITY = {"old": 0.5, "other": 0.3, "new": 0.9}
WANTED = Preferences(1.0, 0.0, 0.0)


def router(*models: Model, seed: int = 1, policy: str = "hierarchical") -> Router:
    models, still = models or (OLD, OTHER), StillClock(5.0)
    return Router(models, policy=policy, seed=seed, features=PlainFeatures(), clock=still, ids=CountingIds())


def play(r: Router, n: int, seed: int = 0) -> list[str]:
    """Who was asked. Ratings are 0 or 1."""
    chance, asked = random.Random(seed), []
    for i in range(n):
        decision = r.choose(Query(f"prompt number {i}", preferences=WANTED))
        asked.append(decision.model)
        r.learn(decision.observation(quality=float(chance.random() < QUALITY[decision.model]), output_tokens=200))
    return asked


def candidate(r: Router, name: str):
    return next(c for c in r.choose(Query("hello", preferences=WANTED)).candidates if c.model == name)


@pytest.mark.parametrize("seed", range(3))
def test_a_better_newcomer_starts_with_a_tenth_and_has_its_share_within_150(seed: int) -> None:
    r = router(seed=seed)
    play(r, 300, seed)
    r.replace_models([OLD, OTHER, NEW])
    assert candidate(r, "new").probability <= FIRST_SHARE + 1e-9
    asked = play(r, 250, seed + 1)
    assert asked[:20].count("new") <= 10
    assert asked[150:].count("new") >= 80


def test_a_newcomer_is_expected_to_be_like_the_others_at_its_price() -> None:
    r = router()
    play(r, 300)
    before = candidate(r, "old").quality, candidate(r, "other").quality
    r.replace_models([OLD, OTHER, NEW])
    new = candidate(r, "new")
    assert min(before) - 0.1 < new.quality < max(before) + 0.1
    assert new.quality_sd > candidate(r, "old").quality_sd


def test_at_a_cold_start_there_are_no_newcomers() -> None:
    r = router()
    r.replace_models([OLD, OTHER, NEW])
    assert candidate(r, "new").probability == pytest.approx(1 / 3, abs=0.01)


def test_who_is_fixed_is_asked_however_new() -> None:
    r = router(OLD, NEW, policy="fixed:new")
    for i in range(60):
        r.learn(r.assign(Query(f"p {i}"), "old").observation(quality=0.5, output_tokens=10))
    r.replace_models([OLD])
    r.replace_models([OLD, NEW])
    assert candidate(r, "new").probability == 1.0


def test_who_leaves_is_not_asked_and_returns_with_what_was_learned_and_more_doubt() -> None:
    r = router(OLD, NEW)
    play(r, 300)
    known = candidate(r, "new")
    r.replace_models([OLD])
    assert set(play(r, 20)) == {"old"}
    r.replace_models([OLD, NEW])
    back = candidate(r, "new")
    assert back.quality == pytest.approx(known.quality, abs=0.05)
    assert back.quality_sd > 1.1 * known.quality_sd
    assert back.probability > 0.5


def test_a_new_price_counts_at_once() -> None:
    r = router()
    play(r, 100)
    r.beliefs.refresh()
    frugal = Query("hello", preferences=Preferences.preset("cost"))
    before = {c.model: c.cost_usd for c in r.choose(frugal).candidates}
    r.replace_models([Model("old", "p", price=Price(10.0, 40.0)), OTHER])
    after = {c.model: c for c in r.choose(frugal).candidates}
    assert after["old"].cost_usd == pytest.approx(10 * (before["old"] or 0.0))
    assert after["other"].probability > 0.95


def taught(r: Router, name: str, answers: int) -> None:
    """So many answers, without what they were worth."""
    blank = r.assign(Query("some prompt"), r.catalogue.models[0].name).observation(output_tokens=10)
    for _ in range(answers):
        r.fold(replace(blank, model=name))


def test_who_was_not_seen_among_the_first_answers_is_a_newcomer() -> None:
    r = router(OLD, OTHER, NEW)
    taught(r, "other", 3)
    taught(r, "old", int(KNOWN_AFTER) - 1)
    r.beliefs.refresh()
    assert candidate(r, "new").probability > 0.2
    taught(r, "old", 1)
    r.beliefs.refresh()
    assert candidate(r, "new").probability == pytest.approx(FIRST_SHARE)
    assert candidate(r, "other").probability > 0.2
    taught(r, "new", 3)
    r.beliefs.refresh()
    assert candidate(r, "new").probability == pytest.approx(FIRST_SHARE + 0.9 * 3 / KNOWN_AFTER)


def test_who_starts_later_believes_the_same_of_newcomers() -> None:
    there, later, older = router(OLD, OTHER, NEW), router(OLD, OTHER, NEW), router(OLD, OTHER, NEW)
    taught(there, "other", 3)
    taught(there, "old", int(KNOWN_AFTER))
    state = dict(there.beliefs.state())
    later.beliefs.restore(state)
    del state["beginners"]  # as in a snapshot of a version that did not keep them
    older.beliefs.restore(state)
    for r in (there, later, older):
        taught(r, "new", 2)
        r.beliefs.refresh()
    candidates = [[candidate(r, name) for name in ("old", "other", "new")] for r in (there, later, older)]
    assert candidates[0] == candidates[1] == candidates[2]
    assert candidates[0][2].probability < 0.2 < candidates[0][1].probability


names = st.lists(st.sampled_from("abcdef"), min_size=1, unique=True)


@given(names, names, st.integers(0, 2**32 - 1))
def test_what_newcomers_may_not_have_goes_to_the_others(menu: list[str], arrived: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = {"z": 1e4} | {name: float(rng.integers(0, 80)) for name in menu}
    newcomers = Newcomers()
    newcomers.welcome(arrived, seen)
    probability = rng.dirichlet(np.ones(len(menu)))
    got = newcomers.capped(menu, probability, seen)
    assert got.sum() == pytest.approx(1.0)
    assert (got >= 0).all()
    caps = [FIRST_SHARE + (1 - FIRST_SHARE) * min(seen[n] / KNOWN_AFTER, 1) if n in arrived else 1.0 for n in menu]
    if max(caps) == 1.0:
        assert (got <= np.array(caps) + 1e-9).all()
    else:
        np.testing.assert_array_equal(got, probability)


def test_doubt_about_who_came_narrows_with_its_answers() -> None:
    newcomers = Newcomers()
    newcomers.welcome(["a", "b"], {"a": 100.0})
    for more, doubt in ((0.0, DOUBT), (KNOWN_AFTER / 2, (DOUBT + 1) / 2), (KNOWN_AFTER, 1.0), (1e6, 1.0)):
        assert newcomers.doubt(["a", "b"], {"a": 100.0 + more, "b": more}).tolist() == [doubt, doubt]
        assert newcomers.doubt(["c"], {"c": more}).tolist() == [1.0]
