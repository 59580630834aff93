"""A key gives a model so much weight within an hour, and no more, whatever it sends and however it sends it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.events import FeedbackCapped, FeedbackGiven
from conduit.routing.query import Query
from conduit.routing.router import Router
from tests.unit.gateway.settling import Court
from tests.unit.gateway.test_complete import MODELS


async def lie(court: Court, times: int, *, model: str = "first", key_id: str | None = None) -> None:
    """All at once, as fast as it goes."""
    decisions = [await court.decided(model, key_id=key_id) for _ in range(times)]
    await asyncio.gather(*(court.settler.settle(d.id, {"quality_score": 0.0}) for d in decisions))


async def weight(court: Court, model: str = "first") -> float:
    return sum(o.weight for o in await court.observations() if o.model == model)


async def believed(court: Court, *, policy: str) -> dict[str, float]:
    router = Router(MODELS, policy=policy, seed=1)
    for o in await court.observations():
        router.fold(o)
    router.beliefs.refresh()
    return {c.model: c.quality for c in router.choose(Query("hello")).candidates}


@pytest.mark.parametrize("policy", ["hierarchical", "thompson_sampling"])
async def test_thousands_of_lies_move_beliefs_no_further_than_the_cap(policy: str) -> None:
    """As far as the first of them would have moved them alone."""
    attacked, honest = Court(weight_per_hour=20.0), Court()
    await lie(attacked, 3000)
    await lie(honest, 20)
    assert await weight(attacked) == pytest.approx(20.0)
    assert await believed(attacked, policy=policy) == pytest.approx(await believed(honest, policy=policy))


async def test_it_is_recorded_all_the_same_and_said_once() -> None:
    court = Court(weight_per_hour=1.5)
    given = [await court.settler.settle((await court.decided("first")).id, {"quality_score": 0.2}) for _ in range(5)]
    assert [feedback.weight for feedback in given] == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert {feedback.quality for feedback in given} == {0.2}
    assert [e for e in court.events if isinstance(e, FeedbackCapped)] == [FeedbackCapped(None, "first", 1.5)]
    assert len([e for e in court.events if isinstance(e, FeedbackGiven)]) == 5
    assert (await court.ledger.totals()).rated == 2


async def test_another_key_another_model_and_another_hour_have_their_own() -> None:
    court = Court(weight_per_hour=2.0)
    await lie(court, 5)
    await lie(court, 5, key_id="another")
    await lie(court, 5, model="second")
    assert (await weight(court), await weight(court, "second")) == (4.0, 2.0)
    court.clock.at_s += 3601.0
    await lie(court, 5)
    assert await weight(court) == 6.0
    assert len([e for e in court.events if isinstance(e, FeedbackCapped)]) == 4


async def test_what_is_taken_back_may_be_given_again() -> None:
    """A revision at the cap still teaches, and one that says less leaves room for others."""
    court = Court(weight_per_hour=2.0)
    names = [(await court.decided("first")).id for _ in range(3)]
    for name in names[:2]:
        await court.settler.settle(name, {"quality_score": 0.2})
    assert (await court.settler.settle(names[0], {"quality_score": 0.9})).weight == 1.0
    assert (await court.settler.settle(names[0], {"regenerated": True})).weight == 0.3
    assert (await court.settler.settle(names[2], {"quality_score": 0.9})).weight == pytest.approx(0.7)
    assert await weight(court) == pytest.approx(2.0)


async def test_saying_it_back_and_forth_gives_no_more() -> None:
    court = Court(weight_per_hour=2.0)
    name = (await court.decided("first")).id
    for n in range(50):
        await court.settler.settle(name, {"quality_score": n % 2 / 2})
    assert await weight(court) == 1.0


async def test_a_comparison_is_counted_to_both_models() -> None:
    """Losing on purpose is a lie too."""
    court = Court(weight_per_hour=1.0)
    for _ in range(10):
        one, other = await court.decided("first"), await court.decided("second")
        await court.settler.settle(one.id, {"preferred_over": other.id})
    assert (await weight(court), await weight(court, "second")) == (1.0, 1.0)


said = st.fixed_dictionaries(
    {},
    optional={
        "quality_score": st.floats(0, 1),
        "thumbs": st.sampled_from(["up", "down"]),
        "regenerated": st.just(True),
        "preferred_over": st.integers(0, 5),
    },
).filter(bool)


@given(st.lists(st.tuples(st.integers(0, 5), said, st.floats(0, 2000)), max_size=25), st.floats(0.2, 4.0))
def test_no_hour_holds_more_than_the_cap(acts: list[tuple[int, dict[str, object], float]], cap: float) -> None:
    """After any feedback whatever, what each model was taught within the last hour, and stands, is at most the cap."""

    async def play() -> None:
        court = Court(weight_per_hour=cap)
        names = [(await court.decided(("first", "second")[n % 2])).id for n in range(6)]
        for n, signals, passes_s in acts:
            court.clock.at_s += passes_s
            rival = signals.get("preferred_over")
            if rival == n:
                continue
            named = {"preferred_over": names[rival]} if isinstance(rival, int) else {}
            await court.settler.settle(names[n], {**signals, **named})
            for model in ("first", "second"):
                since_s = court.clock.at_s - 3600.0
                assert await court.ledger.taught(key_id=None, model=model, since_s=since_s) <= cap + 1e-6

    asyncio.run(play())
