"""One answer preferred to another: both models learn, who can compare learns the comparison, and all can be undone."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.bandits.policy import Vector
from conduit.gateway.learning.duels import sides
from conduit.routing.beliefs import Beliefs
from conduit.routing.decision import Observation, Record
from conduit.routing.errors import InvalidRequest, NotFound
from conduit.routing.query import Query
from conduit.routing.router import Router
from tests.unit.gateway.settling import Court
from tests.unit.gateway.test_complete import MODELS
from tests.unit.stores.entries import decision


async def two() -> tuple[Court, str, str]:
    court = Court()
    return court, (await court.decided("first")).id, (await court.decided("second")).id


# ------------------------------------------------------------------ what it teaches


async def test_a_preference_teaches_both_models_with_half_the_weight_of_a_score() -> None:
    court, one, other = await two()
    settled = await court.settler.settle(one, {"preferred_over": other})
    assert settled.weight == 0.5
    won, lost = await court.observations()
    seen = [(o.decision_id, o.model, o.rival, o.preference, o.weight) for o in (won, lost)]
    assert seen == [(one, "first", "second", 1.0, 0.5), (other, "second", "first", -1.0, 0.5)]
    assert won.quality is not None
    assert lost.quality is not None
    assert won.quality > lost.quality


async def test_a_tie_brings_both_to_one_level() -> None:
    court, one, other = await two()
    await court.settler.settle(one, {"preferred_over": other, "tie": True})
    won, lost = await court.observations()
    assert (won.preference, lost.preference) == (0.0, 0.0)
    assert won.quality == lost.quality


beliefs = st.floats(-0.5, 1.5)


@given(beliefs, beliefs, st.booleans())
def test_a_comparison_moves_the_difference_and_not_the_level(one: float, other: float, tie: bool) -> None:
    """The two ratings that it comes to have the mean of what was believed, and lie within 0 and 1."""

    def record(number: int, model: str, quality: float) -> Record:
        made = decision(number, model=model)
        candidates = tuple(c._replace(quality=quality if c.model == model else 0.3) for c in made.candidates)
        return Record(replace(made, candidates=candidates), None, None)

    won, lost = sides(record(1, "ada", one), record(2, "bob", other), tie=tie)
    qualities: list[Any] = [won["quality"], lost["quality"]]
    level = (min(max(one, 0.0), 1.0) + min(max(other, 0.0), 1.0)) / 2
    assert sum(qualities) / 2 == pytest.approx(level)
    assert all(-1e-12 <= quality <= 1 + 1e-12 for quality in qualities)
    assert qualities[0] >= qualities[1] - 1e-12


async def test_an_answer_counts_once_though_it_is_rated_and_compared() -> None:
    """A score leaves nothing to a comparison, a thumb leaves a part; the other answer has its own account."""
    court, one, other = await two()
    for signals, share in (({"thumbs": "up"}, 0.3), ({"quality_score": 1.0}, 0.0)):
        await court.settler.settle(one, {"preferred_over": other, **signals})
        weights = await court.standing()
        mine = {rival: w for (who, _, _, rival, _), w in weights.items() if who == one}
        assert sum(mine.values()) == pytest.approx(1.0)
        assert mine.get("second", 0.0) == pytest.approx(share)
        assert sum(w for (who, *_), w in weights.items() if who == other) == pytest.approx(0.5)


async def test_many_who_beat_one_answer_share_its_weight() -> None:
    court, one, other = await two()
    third = (await court.decided("first", "again")).id
    await court.settler.settle(one, {"preferred_over": other})
    await court.settler.settle(third, {"preferred_over": other})
    await court.settler.settle(other, {"judge_score": 0.9}, source="judge")
    weights = await court.standing()
    assert sum(w for (who, *_), w in weights.items() if who == other) == pytest.approx(1.0)


async def test_answers_of_one_model_are_compared_in_vain() -> None:
    """It is kept, and teaches nothing."""
    court, one, _ = await two()
    another = (await court.decided("first", "again")).id
    settled = await court.settler.settle(one, {"preferred_over": another})
    assert (settled.weight, await court.observations()) == (0.0, [])


# ------------------------------------------------------------------ said again, said otherwise


async def test_the_same_preference_again_changes_nothing() -> None:
    court, one, other = await two()
    first = await court.settler.settle(one, {"preferred_over": other})
    assert await court.settler.settle(one, {"preferred_over": other}) == first
    assert len(await court.observations()) == 2


async def test_another_preference_takes_the_first_one_back_from_both() -> None:
    court, one, other = await two()
    third = (await court.decided("second", "again")).id
    await court.settler.settle(one, {"preferred_over": other})
    await court.settler.settle(one, {"preferred_over": third})
    assert {who for who, *_ in await court.standing()} == {one, third}
    await court.settler.settle(one, {"quality_score": 0.4})
    assert await court.standing() == {(one, "first", 0.4, None, None): 1.0}
    record = await court.ledger.find(third)
    assert record is not None
    assert record.feedback is not None
    assert (record.feedback.signals, record.feedback.weight) == ({}, 0.0)


async def test_what_is_said_of_the_other_answer_leaves_the_comparison() -> None:
    court, one, other = await two()
    await court.settler.settle(one, {"preferred_over": other})
    await court.settler.settle(other, {"regenerated": True})
    rivals = [rival for (who, _, _, rival, _) in await court.standing() if who == other]
    assert sorted(map(str, rivals)) == ["None", "first"]


async def test_both_answers_must_be_known_and_be_two_of_one_caller() -> None:
    court, one, _ = await two()
    foreign = (await court.decided("second", key_id="another")).id
    for name in ("dec_absent", foreign):
        with pytest.raises(NotFound) as found:
            await court.settler.settle(one, {"preferred_over": name})
        assert found.value.param == "preferred_over"
    with pytest.raises(InvalidRequest) as wrong:
        await court.settler.settle(one, {"preferred_over": one})
    assert wrong.value.param == "preferred_over"
    assert await court.observations() == []


# ------------------------------------------------------------------ the fold

acts = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["caller", "caller", "caller", "judge", "retry"]),
        st.fixed_dictionaries(
            {},
            optional={
                "preferred_over": st.integers(0, 4),
                "tie": st.booleans(),
                "thumbs": st.sampled_from(["up", "down"]),
                "quality_score": st.floats(0, 1),
            },
        ),
        st.floats(0, 1),
    ),
    max_size=12,
)


def folded(observations: list[Observation], policy: str) -> dict[str, Vector]:
    router = Router(MODELS, policy=policy)
    believed = Beliefs(policy, router.features, router.catalogue)
    for o in observations:
        believed.fold(o)
    return dict(believed.state()["quality"])


@settings(max_examples=30)
@given(acts, st.randoms(use_true_random=False))
def test_beliefs_are_what_was_said_last_in_whatever_order_it_is_read(acts: list[Any], random: Any) -> None:
    """For who can compare and for who cannot: nothing of what was revised is left."""

    async def play() -> tuple[list[Observation], list[Observation]]:
        court = Court()
        names = [(await court.decided(("first", "second")[n % 2], f"prompt {n}")).id for n in range(5)]
        for n, source, signals, score in acts:
            said = dict(signals)
            if "preferred_over" in said:
                said["preferred_over"] = names[said["preferred_over"]]
            if source != "caller":
                said = {"judge_score": score} if source == "judge" else {"retried": True}
            try:
                await court.settler.settle(names[n], said, source=source)
            except InvalidRequest:
                continue
        last = []
        for name in names:
            record = await court.ledger.find(name)
            assert record is not None
            last += [
                replace(
                    record.decision.observation(quality=lesson.quality),
                    weight=lesson.weight,
                    rival=lesson.rival,
                    preference=lesson.preference,
                )
                for lesson in (record.feedback.lessons if record.feedback else ())
            ]
        return await court.observations(), last

    everything, last = asyncio.run(play())
    random.shuffle(everything)
    for policy in ("dueling", "hierarchical", "thompson_sampling"):
        one, other = folded(everything, policy), folded(last, policy)
        for name in one.keys() | other.keys():
            nothing = np.zeros_like(one.get(name, other.get(name)))
            np.testing.assert_allclose(one.get(name, nothing), other.get(name, nothing), atol=1e-9)


async def test_who_can_compare_finds_the_better_of_two_from_preferences_alone() -> None:
    """And so do the others; the duel tells the first more."""
    court, _, _ = await two()
    for n in range(40):
        one, other = await court.decided("first", f"p{n}"), await court.decided("second", f"p{n}")
        better, worse = (one, other) if n % 4 else (other, one)
        await court.settler.settle(better.id, {"preferred_over": worse.id})
    for policy in ("dueling", "hierarchical"):
        router = Router(MODELS, policy=policy, seed=1)
        for o in await court.observations():
            router.fold(o)
        router.beliefs.refresh()
        found = {c.model: c.quality for c in router.choose(Query("p")).candidates}
        assert found["first"] > found["second"] + 0.1, policy
