"""Feedback that several processes give at once: no cap is passed, no rating lost, nothing counted twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, text

from conduit.routing.decision import Lesson
from conduit.routing.system import SystemClock, TimeOrderedIds
from conduit.stores.sql.ledger import SqlLedger
from tests.unit.gateway.settling import Court
from tests.unit.stores.entries import decision, name


@pytest.fixture
async def courts(url: str) -> AsyncIterator[list[Court]]:
    """Each with a ledger and with names of its own, as in a process of its own."""
    made = [Court(ledger=SqlLedger(url), weight_per_hour=25.25, ids=TimeOrderedIds(SystemClock())) for _ in range(3)]
    for court in made:
        await court.ledger.open()
    yield made
    for court in made:
        await court.ledger.close()


async def test_liars_in_several_processes_share_one_cap(courts: list[Court]) -> None:
    decisions = [await courts[0].decided("first", f"prompt {n}") for n in range(90)]
    given = await asyncio.gather(
        *(courts[n % 3].settler.settle(d.id, {"quality_score": 0.0}) for n, d in enumerate(decisions))
    )
    assert sum(feedback.weight for feedback in given) == pytest.approx(25.25)
    for court in courts:
        assert sum(o.weight for o in await court.observations()) == pytest.approx(25.25)
    taught = await courts[0].ledger.taught(key_id=None, model="first", since_s=0.0)
    assert taught == pytest.approx(25.25)


async def test_one_answer_judged_from_all_sides_is_one_observation(courts: list[Court]) -> None:
    """By its user, by a judge, by a retry, and as the lesser of two, at the same moment."""
    one, other = await courts[0].decided("first"), await courts[0].decided("second")
    await asyncio.gather(
        courts[0].settler.settle(other.id, {"thumbs": "up"}),
        courts[1].settler.settle(other.id, {"judge_score": 0.5}, source="judge"),
        courts[2].settler.settle(other.id, {"retried": True}, source="retry"),
        courts[0].settler.settle(one.id, {"preferred_over": other.id}),
    )
    weights = await courts[1].standing()
    quality = (0.7 * 1.0 + 0.5 * 0.5) / (0.7 + 0.5 + 0.15)
    assert {(who, rival): w for (who, _, _, rival, _), w in weights.items()} == {
        (other.id, None): pytest.approx(0.7),
        (other.id, "first"): pytest.approx(0.3),
        (one.id, "second"): pytest.approx(0.5),
    }
    rated = [q for (who, _, q, rival, _) in weights if (who, rival) == (other.id, None)]
    assert rated == [pytest.approx(quality)]


async def test_feedback_of_before_there_were_weights_is_taken_back_as_it_was_given(url: str) -> None:
    """And what code of that time writes into the newer schema is read as such."""
    court = Court(ledger=SqlLedger(url))
    await court.ledger.open()
    await court.ledger.append(decision(model="first", key_id=None))
    schema = "conduit." if url.startswith("postgresql") else ""
    insert = f"""INSERT INTO {schema}feedback (id, decision_id, revision, time_s, quality, signals, model)
                 VALUES ('fb_old', '{name(1)}', 1, 999.0, 0.75, '{{"thumbs": "up"}}', 'first')"""

    def write(connection: Connection) -> None:
        connection.execute(text(insert))

    assert isinstance(court.ledger, SqlLedger)
    await court.ledger._database.write(write, power_safe=False)
    record = await court.ledger.find(name(1))
    assert record is not None
    assert record.feedback is not None
    assert record.feedback.lessons == (Lesson(0.75, 1.0),)
    await court.settler.settle(name(1), {"quality_score": 0.5})
    assert [(o.quality, o.weight) for o in await court.observations()] == [(0.75, -1.0), (0.5, 1.0)]
    await court.ledger.close()
