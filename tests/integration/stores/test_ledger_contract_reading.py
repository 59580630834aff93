"""What every ledger promises of what is read from it, whatever it is made of."""

import asyncio

from conduit.core.storage import Ledger
from conduit.routing.decision import Status
from tests.unit.stores.entries import CONTEXT, decision, feedback, name, observation, outcome, plain

# ------------------------------------------------------------------ finding


async def test_nobody_is_found_under_an_unknown_name(ledger: Ledger) -> None:
    await ledger.append(decision(), outcome())
    assert await ledger.find("nobody") is None
    assert await ledger.find("") is None


async def test_a_decision_is_found_by_the_providers_id_of_its_answer(ledger: Ledger) -> None:
    await ledger.append(decision(1), decision(2), outcome(2))
    record = await ledger.find("chatcmpl-2")
    assert record is not None
    assert record.decision.id == name(2)


async def test_of_two_answers_of_one_name_the_newest_is_found(ledger: Ledger) -> None:
    await ledger.append(decision(2), outcome(2, response_id="same"))
    await ledger.append(decision(1), outcome(1, response_id="same"))
    record = await ledger.find("same")
    assert record is not None
    assert record.decision.id == name(2)


async def test_a_provider_cannot_take_over_the_name_of_a_decision(ledger: Ledger) -> None:
    await ledger.append(decision(1), decision(2), outcome(2, response_id=name(1)))
    record = await ledger.find(name(1))
    assert record is not None
    assert record.decision.id == name(1)


async def test_a_decision_is_found_by_its_callers_id_of_the_request(ledger: Ledger) -> None:
    """Under the same key only, and of several the newest, in whatever order they were written."""
    await ledger.append(decision(3, request_id="mine"), outcome(3), feedback(3))
    await ledger.append(decision(1, request_id="mine"), decision(2, request_id="other"))
    await ledger.append(decision(4, request_id="mine", key_id="key_2"), decision(5, request_id="mine", key_id=None))
    for key_id, number in (("key_1", 3), ("key_2", 4), (None, 5)):
        record = await ledger.requested("mine", key_id=key_id)
        assert record is not None
        assert record.decision.id == name(number)
        assert record.decision.request_id == "mine"
    record = await ledger.requested("mine", key_id="key_1")
    assert record is not None
    assert (record.outcome is not None, record.feedback is not None) == (True, True)
    for sought, key_id in (("other", "key_2"), ("other", None), ("mine", "key_3"), ("nobody's", "key_1"), ("", None)):
        assert await ledger.requested(sought, key_id=key_id) is None
    assert await ledger.find("mine") is None, "by names that are the gateway's or the provider's only"


async def test_an_outcome_without_its_decision_is_not_a_record(ledger: Ledger) -> None:
    await ledger.append(outcome(), observation(), feedback())
    assert await ledger.find("chatcmpl-1") is None
    assert await ledger.find(name(1)) is None
    assert await ledger.recent(limit=5) == []
    assert await ledger.observations(after=0, limit=5) == []


async def test_a_key_finds_its_own_and_nobody_elses(ledger: Ledger) -> None:
    """Not even when two answers have one name."""
    await ledger.append(decision(1, key_id="key_1"), outcome(1, response_id="same"))
    await ledger.append(decision(2, key_id="key_2"), outcome(2, response_id="same"))
    await ledger.append(decision(3, key_id=None), outcome(3, response_id="other"))
    for number in (1, 2):
        for sought in (name(number), "same"):
            record = await ledger.find(sought, key_id=f"key_{number}")
            assert record is not None
            assert record.decision.id == name(number)
    for sought in (name(1), name(3), "other"):
        assert await ledger.find(sought, key_id="key_2") is None


async def test_recent_pages_through_one_keys_own(ledger: Ledger) -> None:
    await ledger.append(*(decision(number, key_id=f"key_{number % 2}") for number in range(1, 8)))
    first = await ledger.recent(limit=2, key_id="key_0")
    assert [record.decision.id for record in first] == [name(6), name(4)]
    rest = await ledger.recent(limit=2, before=name(4), key_id="key_0")
    assert [record.decision.id for record in rest] == [name(2)]
    assert await ledger.recent(limit=2, key_id="nobody") == []


# ------------------------------------------------------------------ reading on


async def test_recent_pages_from_the_newest_to_the_oldest(ledger: Ledger) -> None:
    numbers = [5, 1, 4, 2, 3, 10, 9]
    await asyncio.gather(*(ledger.append(decision(number)) for number in numbers))
    await ledger.append(outcome(4), feedback(4), feedback(4, revision=2))
    pages = []
    before = None
    while page := await ledger.recent(limit=3, before=before):
        pages.append([record.decision.id for record in page])
        before = pages[-1][-1]
    assert pages == [[name(10), name(9), name(5)], [name(4), name(3), name(2)], [name(1)]]
    fourth = (await ledger.recent(limit=1, before=name(5)))[0]
    assert (fourth.outcome, fourth.feedback) == (outcome(4), feedback(4, revision=2))


async def test_ids_are_compared_byte_by_byte(ledger: Ledger) -> None:
    ids = ["dec_A", "dec_a", "dec_B", "dec_0", "dec__"]
    await ledger.append(*(decision(id=each) for each in ids))
    assert [record.decision.id for record in await ledger.recent(limit=9)] == sorted(ids, reverse=True)


async def test_observations_are_read_on_from_a_position(ledger: Ledger) -> None:
    await ledger.append(decision(1), decision(2, features="hashing-2"))
    await asyncio.gather(*(ledger.append(observation(1, weight=float(k))) for k in range(10)))
    seen = []
    position = 0
    while page := await ledger.observations(after=position, limit=4):
        assert len(page) <= 4
        seen += [o.weight for _, o in page]
        position = page[-1][0]
    assert seen == [float(k) for k in range(10)]
    newest = observation(2, quality=None, output_tokens=None, features="hashing-2", weight=-1.0)
    await ledger.append(newest)
    ((_, back),) = await ledger.observations(after=position, limit=4)
    assert plain(back) == plain(newest)
    assert back.context.tolist() == CONTEXT.tolist()


async def test_positions_are_positive_and_grow(ledger: Ledger) -> None:
    await ledger.append(decision(), *(observation() for _ in range(5)))
    positions = [position for position, _ in await ledger.observations(after=0, limit=9)]
    assert positions == sorted(set(positions))
    assert positions[0] > 0


async def test_an_empty_ledger_has_empty_totals(ledger: Ledger) -> None:
    totals = await ledger.totals()
    assert (totals.decisions, totals.answered, totals.failed, totals.unpriced, totals.rated) == (0, 0, 0, 0, 0)
    assert (totals.cost_usd, totals.latency_s, totals.quality, dict(totals.by_model)) == (0.0, 0.0, None, {})
    assert await ledger.recent(limit=5) == []
    assert await ledger.observations(after=0, limit=5) == []


async def test_totals_count_everything_once(ledger: Ledger) -> None:
    await ledger.append(*(decision(number) for number in range(1, 7)))
    await ledger.append(
        outcome(1, model="ada", cost_usd=0.25, latency_s=1.0),
        outcome(2, model="ada", cost_usd=None, latency_s=2.0),
        outcome(3, model="bob", cost_usd=0.5, latency_s=6.0),
        outcome(4, model="bob", status=Status.FAILED, cost_usd=None, latency_s=100.0),
        outcome(5, model="bob", status=Status.CANCELLED, cost_usd=0.125, latency_s=100.0),
    )
    await ledger.append(feedback(1, quality=0.0), feedback(1, 2, quality=0.5), feedback(3, quality=1.0))
    await ledger.append(feedback(4, quality=0.0, weight=0.0), feedback(5, quality=0.0, model=None))  # teach nothing
    totals = await ledger.totals()
    assert (totals.decisions, totals.answered, totals.failed, totals.unpriced) == (6, 3, 1, 1)
    assert totals.cost_usd == 0.875
    assert totals.latency_s == 3.0
    assert totals.by_model == {"ada": 2, "bob": 1}
    assert (totals.rated, totals.quality) == (2, 0.75)


async def test_a_keys_totals_are_of_its_own_decisions(ledger: Ledger) -> None:
    await ledger.append(decision(1, key_id="one"), decision(2, key_id="other"), decision(3, key_id="one"), decision(4))
    await ledger.append(*(outcome(number, cost_usd=2.0**-number, latency_s=1.0) for number in range(1, 5)))
    await ledger.append(feedback(1, quality=0.25, key_id="one"), feedback(2, quality=1.0, key_id="other"))
    totals = await ledger.totals(key_id="one")
    assert (totals.decisions, totals.answered, totals.cost_usd, totals.rated) == (2, 2, 0.625, 1)
    assert totals.quality == 0.25
    nobody = await ledger.totals(key_id="nobody")
    assert (nobody.decisions, nobody.answered, nobody.cost_usd, nobody.rated, nobody.quality) == (0, 0, 0.0, 0, None)


async def test_a_healthy_ledger_passes_its_check(ledger: Ledger) -> None:
    assert await ledger.check()


async def test_a_text_is_read_by_who_looks_for_the_very_decision(ledger: Ledger) -> None:
    """Not by who reads many; a hash is read by both."""
    text = "What is ☂?\nAnd\u2028\U0001f600?"
    await ledger.append(decision(1, prompt=text, prompt_hash=None), observation(1))
    await ledger.append(decision(2), observation(2))
    found = [await ledger.find(name(number)) for number in (1, 2)]
    assert [(each.decision.prompt, each.decision.prompt_hash) for each in found if each] == [
        (text, None),
        (None, bytes(range(16))),
    ]
    latest = await ledger.latest("talk-1", key_id="key_1", before=name(2))
    light = [*await ledger.recent(limit=9), *([latest] if latest else [])]
    assert [(each.decision.id, each.decision.prompt) for each in light] == [
        (name(2), None),
        (name(1), None),
        (name(1), None),
    ]
    assert light[0].decision.prompt_hash == bytes(range(16))
    assert await ledger.prompts([name(1), name(2), "dec_absent"]) == {name(1): text}
    assert await ledger.prompts([]) == {}
