"""A snapshot holds all that was learned, and whatever else it may hold is refused."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import Model, Price, Router
from conduit.routing.policies import POLICIES
from conduit.routing.snapshot import VERSION, Recipe, Snapshot, Unfit, opened, packed, taken, unpacked
from conduit.routing.system import CountingIds, StillClock
from tests.support.plain import PlainFeatures

MODELS = [Model("a/cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]


def router(policy: str = "hierarchical") -> Router:
    more = {"features": PlainFeatures(), "clock": StillClock(5.0), "ids": CountingIds()}
    return Router(MODELS, policy=policy, seed=1, **more)


def taught(policy: str = "hierarchical", n: int = 60) -> Router:
    r = router(policy)
    for i in range(n):
        d = r.choose(f"prompt {i}" + "?" * (i % 2))
        r.learn(d.observation(quality=(i % 7) / 7, output_tokens=10 + i, latency_s=0.1 * (i + 1)))
    r.beliefs.refresh()
    return r


def snapshot_of(r: Router) -> Snapshot:
    return taken(r.beliefs.state(), r.beliefs.recipe, position=60, time_s=5.0)


TAKEN = snapshot_of(taught())


def refused(snapshot: Snapshot, recipe: Recipe = TAKEN.recipe) -> str:
    with pytest.raises(Unfit) as caught:
        opened(snapshot, recipe)
    return caught.value.why


@pytest.mark.parametrize("policy", POLICIES)
def test_beliefs_from_a_snapshot_are_the_beliefs_that_it_was_taken_of(policy: str) -> None:
    old, new = taught(policy), router(policy)
    new.beliefs.restore(opened(snapshot_of(old), new.beliefs.recipe))
    expected, got = ({c.model: c for c in r.choose("one more?").candidates} for r in (old, new))
    assert got == expected
    assert (new.beliefs.rated, new.beliefs.seen) == (old.beliefs.rated, old.beliefs.seen)
    assert (new.beliefs.folded, new.beliefs.behind) == (old.beliefs.folded, False)


def test_who_goes_on_from_a_snapshot_comes_to_where_the_whole_fold_comes() -> None:
    whole, half = taught(n=80), router()
    half.beliefs.restore(opened(snapshot_of(taught(n=40)), half.beliefs.recipe))
    r = taught(n=40)
    for i in range(40, 80):
        d = r.choose(f"prompt {i}" + "?" * (i % 2))
        o = d.observation(quality=(i % 7) / 7, output_tokens=10 + i, latency_s=0.1 * (i + 1))
        r.learn(o)
        half.fold(o)
    half.beliefs.refresh()
    for signal, arms in r.beliefs.state().items():
        for name, vector in arms.items():
            np.testing.assert_allclose(half.beliefs.state()[signal][name], vector, rtol=1e-9, atol=1e-12)
    assert whole.beliefs.folded == half.beliefs.folded


@given(st.integers(0, len(TAKEN.body) - 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(place: int, flip: int) -> None:
    body = bytearray(TAKEN.body)
    body[place] ^= flip
    assert refused(replace(TAKEN, body=bytes(body))) == "corrupt"


@given(st.integers(0, len(TAKEN.body) - 1))
def test_a_truncated_one_is_noticed(size: int) -> None:
    assert refused(replace(TAKEN, body=TAKEN.body[:size])) == "corrupt"


def test_one_that_says_it_was_taken_elsewhere_or_otherwise_is_noticed() -> None:
    for change in ({"position": 61}, {"version": 99}, {"recipe": Recipe("linucb", "plain-1", 0.0)}):
        assert refused(replace(TAKEN, **change)) == "corrupt"


@pytest.mark.parametrize(
    ("change", "why"),
    [({"policy": "linucb"}, "policy"), ({"features": "plain-2"}, "features"), ({"half_life_s": 1.0}, "half-life")],
)
def test_one_of_another_recipe_is_refused_with_what_differs(change: Mapping[str, object], why: str) -> None:
    other = replace(TAKEN.recipe, **change)
    assert refused(TAKEN, other) == why


def test_one_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conduit.routing.snapshot.VERSION", VERSION + 1)
    later = snapshot_of(taught())
    monkeypatch.undo()
    assert refused(later) == "version"


def test_one_of_the_first_version_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was pruned is in no other place."""
    monkeypatch.setattr("conduit.routing.snapshot.VERSION", 1)
    first = snapshot_of(taught())
    monkeypatch.undo()
    router().beliefs.restore(opened(first, TAKEN.recipe))


@given(st.binary(max_size=200))
def test_bytes_that_were_never_packed_are_a_value_error_or_nothing(body: bytes) -> None:
    with contextlib.suppress(ValueError, TypeError):
        assert isinstance(unpacked(body), dict)


def test_what_is_packed_unpacks_to_itself() -> None:
    state = {"quality": {"a\u00e9": np.array([1.5, -0.0, 1e-300]), "": np.zeros(0)}, "tokens": {"b": np.ones(3)}}
    got = unpacked(packed(state))
    assert {s: list(arms) for s, arms in got.items()} == {s: list(arms) for s, arms in state.items()}
    for signal, arms in state.items():
        for name, vector in arms.items():
            np.testing.assert_array_equal(got[signal][name], vector)


def test_sums_of_a_wrong_shape_leave_no_beliefs_rather_than_half_of_them() -> None:
    r = taught()
    bad = dict(r.beliefs.state()) | {"latency": {"dear": np.ones(3)}}
    with pytest.raises(ValueError, match="finite numbers"):
        r.beliefs.restore(bad)
    assert r.beliefs.folded == 0
    fresh = {c.model: c for c in router().choose("hi").candidates}
    assert {c.model: c for c in r.choose("hi").candidates} == fresh
