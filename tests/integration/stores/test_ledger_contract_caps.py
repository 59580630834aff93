"""What every ledger promises of the weight that is given, and of the sessions that requests belong to."""

import asyncio

import pytest

from conduit.core.errors import LedgerConflict
from conduit.core.storage import Cap, Ledger, Place
from tests.unit.stores.entries import decision, feedback, name, observation

NOON_S = 1_700_000_000.0
CAP = Cap("key_1", "ada", NOON_S, 3.0)


async def given(ledger: Ledger, key_id: str | None = "key_1", model: str = "ada", since_s: float = NOON_S) -> float:
    return await ledger.taught(key_id=key_id, model=model, since_s=since_s)


# ------------------------------------------------------------------ weight


async def test_weight_is_counted_by_key_and_model_and_time(ledger: Ledger) -> None:
    await ledger.append(
        feedback(1, weight=0.5),
        feedback(2, weight=1.0, time_s=NOON_S),
        feedback(3, weight=0.25, model="bob"),
        feedback(4, weight=0.75, key_id=None),
        feedback(5, weight=0.125, time_s=NOON_S + 3600.0),
        feedback(6, weight=0.0),
        feedback(7, weight=1.0, model=None),
    )
    assert await given(ledger) == 0.625
    assert await given(ledger, since_s=NOON_S + 60.0) == 0.125
    assert await given(ledger, model="bob") == 0.25
    assert await given(ledger, key_id=None) == 0.75
    assert await given(ledger, key_id="nobody") == 0.0


async def test_a_revision_returns_the_weight_of_the_one_before(ledger: Ledger) -> None:
    """Whether it teaches somebody else, teaches again, or nothing more."""
    await ledger.append(*(feedback(number, weight=1.0) for number in (1, 2, 3)))
    await ledger.append(
        feedback(1, 2, weight=0.25), feedback(2, 2, weight=1.0, model="bob"), feedback(3, 2, weight=0.0)
    )
    assert (await given(ledger), await given(ledger, model="bob")) == (0.25, 1.0)


async def test_an_append_that_passes_its_cap_is_a_conflict_and_leaves_nothing(ledger: Ledger) -> None:
    await ledger.append(decision(1), decision(2), feedback(1, weight=2.5))
    with pytest.raises(LedgerConflict):
        await ledger.append(CAP, feedback(2, weight=1.0), observation(2))
    assert await ledger.observations(after=0, limit=9) == []
    await ledger.append(CAP, feedback(2, weight=0.5), observation(2))
    assert await given(ledger) == 3.0


async def test_a_revision_is_judged_without_the_one_it_replaces(ledger: Ledger) -> None:
    await ledger.append(feedback(1, weight=3.0))
    await ledger.append(CAP, feedback(1, 2, weight=3.0))
    with pytest.raises(LedgerConflict):
        await ledger.append(CAP, feedback(1, 3, weight=3.5))


async def test_of_many_at_once_as_many_are_taken_as_fit(ledger: Ledger) -> None:
    """A cap is nobody else's business: what comes without one, or for another model, goes through."""
    await ledger.append(*(decision(number) for number in range(40)))
    capped = [ledger.append(CAP, feedback(number, weight=1.0), observation(number)) for number in range(20)]
    free = [ledger.append(feedback(number, weight=1.0, model="bob")) for number in range(20, 40)]
    fates = await asyncio.gather(*capped, return_exceptions=True)
    await asyncio.gather(*free)
    assert [fate is Place.LEDGER for fate in fates] == [True] * 3 + [False] * 17
    assert all(isinstance(fate, LedgerConflict) for fate in fates[3:])
    assert (await given(ledger), await given(ledger, model="bob")) == (3.0, 20.0)
    assert len(await ledger.observations(after=0, limit=99)) == 3


# ------------------------------------------------------------------ sessions


async def test_the_latest_is_the_last_of_its_session_and_key(ledger: Ledger) -> None:
    await ledger.append(
        decision(1),
        decision(2),
        decision(3, session_id="another"),
        decision(4, key_id="another"),
        decision(5, key_id=None),
        decision(6, session_id=None),
        decision(7),
        feedback(2),
    )
    session, key = decision(1).session_id, decision(1).key_id
    assert session is not None
    before = await ledger.latest(session, key_id=key, before=name(7))
    assert before is not None
    assert (before.decision.id, before.feedback) == (name(2), feedback(2))
    newest = await ledger.latest(session, key_id=key)
    assert newest is not None
    assert newest.decision.id == name(7)
    for other in (("another", key), (session, None)):
        assert await ledger.latest(other[0], key_id=other[1], before=name(3)) is None
    assert await ledger.latest("nobody's", key_id=key) is None
    unwritten = await ledger.latest(session, key_id=None, before=name(99))
    assert unwritten is not None
    assert unwritten.decision.id == name(5)
