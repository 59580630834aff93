"""What every ledger promises of what is put into it, whatever it is made of."""

import asyncio

import pytest

from conduit.core.errors import LedgerConflict, LedgerUnavailable
from conduit.core.storage import Ledger, Place
from conduit.routing.decision import Status
from tests.unit.stores.entries import decision, feedback, name, observation, outcome, plain

# ------------------------------------------------------------------ what goes in comes out


async def test_a_whole_record_comes_back_as_it_was(ledger: Ledger) -> None:
    await ledger.append(decision())
    await ledger.append(outcome(), observation(), power_safe=True)
    await ledger.append(feedback())
    record = await ledger.find(name(1))
    assert record is not None
    assert plain(record.decision) == plain(decision())
    assert record.outcome == outcome()
    assert record.feedback == feedback()


async def test_what_is_not_known_comes_back_as_none(ledger: Ledger) -> None:
    bare = decision(key_id=None, user_id=None, candidates=(), removed={})
    silent = outcome(
        status=Status.CANCELLED,
        attempts=(),
        input_tokens=None,
        output_tokens=None,
        cost_usd=None,
        first_byte_s=None,
        response_id=None,
    )
    await ledger.append(bare, silent)
    record = await ledger.find(name(1))
    assert record is not None
    assert plain(record.decision) == plain(bare)
    assert record.outcome == silent
    assert record.feedback is None


async def test_a_decision_is_found_before_anything_came_of_it(ledger: Ledger) -> None:
    await ledger.append(decision())
    record = await ledger.find(name(1))
    assert record is not None
    assert (record.outcome, record.feedback) == (None, None)


async def test_the_latest_revision_is_the_one_that_counts(ledger: Ledger) -> None:
    await ledger.append(decision())
    await ledger.append(feedback(revision=2, quality=0.1))
    await ledger.append(feedback(revision=1, quality=0.9))
    record = await ledger.find(name(1))
    assert record is not None
    assert record.feedback == feedback(revision=2, quality=0.1)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "日本", "' OR 1=1 --", "\x1b[31m", "\\u0000", '"\\x41", {', "\n\t"])
async def test_any_text_of_a_stranger_can_be_kept_and_asked_for(ledger: Ledger, text: str) -> None:
    await ledger.append(decision(user_id=text), outcome(response_id=text))
    record = await ledger.find(text)
    assert record is not None
    assert await ledger.find(text + "?") is None
    assert await ledger.recent(limit=1, before=text) is not None


@pytest.mark.parametrize("number", [5e-324, 2.2250738585072014e-308, 0.1 + 0.2, 1 / 3, 1.7976931348623157e308, -1e-9])
async def test_numbers_come_back_to_the_last_bit(ledger: Ledger, number: float) -> None:
    kept = decision(shadow_price=number), outcome(latency_s=abs(number), cost_usd=number, output_tokens=2**53 + 1)
    await ledger.append(*kept)
    record = await ledger.find(name(1))
    assert record is not None
    assert (plain(record.decision), record.outcome) == (plain(kept[0]), kept[1])


# ------------------------------------------------------------------ appending


async def test_an_append_is_queued_at_once_and_done_later(ledger: Ledger) -> None:
    receipts = [ledger.append(decision(number)) for number in range(50)]
    await asyncio.gather(*receipts)
    assert (await ledger.totals()).decisions == 50


async def test_an_append_of_nothing_is_done(ledger: Ledger) -> None:
    await ledger.append()


async def test_entries_of_one_process_keep_their_order(ledger: Ledger) -> None:
    await ledger.append(decision())
    receipts = [ledger.append(observation(weight=float(k)), observation(weight=k + 0.5)) for k in range(400)]
    await asyncio.gather(*receipts)
    seen = await ledger.observations(after=0, limit=10_000)
    assert [o.weight for _, o in seen] == [k / 2 for k in range(800)]


@pytest.mark.parametrize("entry", [decision(), outcome(), feedback(), feedback(id="another")])
async def test_an_entry_is_written_once(ledger: Ledger, entry: object) -> None:
    await ledger.append(decision(), outcome(), feedback())
    with pytest.raises(LedgerConflict):
        await ledger.append(entry)  # type: ignore[arg-type]


async def test_an_append_that_contradicts_itself_is_a_conflict(ledger: Ledger) -> None:
    with pytest.raises(LedgerConflict):
        await ledger.append(decision(), outcome(), decision())
    assert await ledger.find(name(1)) is None


async def test_an_append_is_all_or_nothing(ledger: Ledger) -> None:
    await ledger.append(decision(1), feedback(1))
    with pytest.raises(LedgerConflict):
        await ledger.append(decision(2), observation(1), feedback(1, id="another"))
    assert await ledger.find(name(2)) is None
    assert await ledger.observations(after=0, limit=10) == []


async def test_an_observation_without_its_decision_is_let_go_and_never_turns_up(ledger: Ledger) -> None:
    """Whoever had read past it would believe something else than whoever comes later."""
    await ledger.append(outcome(1), observation(1, weight=1.0))
    await ledger.append(observation(2, weight=2.0), decision(2), observation(3, weight=3.0))
    assert [o.weight for _, o in await ledger.observations(after=0, limit=9)] == [2.0]
    await ledger.append(decision(1), decision(3), observation(1, weight=4.0))
    assert [o.weight for _, o in await ledger.observations(after=0, limit=9)] == [2.0, 4.0]


async def test_a_conflict_is_the_guilty_ones_alone(ledger: Ledger) -> None:
    await ledger.append(decision(7), decision(40))
    receipts = [ledger.append(decision(number), observation(number)) for number in range(60)]
    fates = await asyncio.gather(*receipts, return_exceptions=True)
    assert [number for number, fate in enumerate(fates) if fate is not Place.LEDGER] == [7, 40]
    assert all(isinstance(fates[number], LedgerConflict) for number in (7, 40))
    seen = [o.decision_id for _, o in await ledger.observations(after=0, limit=100)]
    assert seen == [name(number) for number in range(60) if number not in (7, 40)]


async def test_the_first_of_two_equal_appends_wins(ledger: Ledger) -> None:
    fates = await asyncio.gather(
        ledger.append(decision(why="first")), ledger.append(decision(why="second")), return_exceptions=True
    )
    assert fates[0] is Place.LEDGER
    assert isinstance(fates[1], LedgerConflict)
    record = await ledger.find(name(1))
    assert record is not None
    assert record.decision.why == "first"


async def test_twenty_writers_of_the_next_revision_get_twenty_revisions(ledger: Ledger) -> None:
    await ledger.append(decision())

    async def say(writer: int) -> int:
        while True:
            record = await ledger.find(name(1))
            assert record is not None
            revision = record.feedback.revision + 1 if record.feedback else 1
            try:
                await ledger.append(feedback(revision=revision, id=f"{writer}-{revision}"), power_safe=True)
            except LedgerConflict:
                continue
            return revision

    assert sorted(await asyncio.gather(*map(say, range(20)))) == list(range(1, 21))


async def test_a_waiter_that_goes_away_takes_nothing_with_it(ledger: Ledger) -> None:
    first, gone, last = (ledger.append(decision(number)) for number in range(3))
    gone.cancel()
    await asyncio.gather(first, last)
    assert (await ledger.totals()).decisions == 3


async def test_closing_writes_what_is_queued(ledger: Ledger) -> None:
    receipts = [ledger.append(decision(number)) for number in range(1200)]
    await ledger.close()
    assert all(receipt.done() and receipt.exception() is None for receipt in receipts)


async def test_a_closed_ledger_takes_nothing(ledger: Ledger) -> None:
    await ledger.close()
    with pytest.raises(LedgerUnavailable):
        await ledger.append(decision())


async def test_a_ledger_can_be_opened_again(ledger: Ledger) -> None:
    await ledger.append(decision(1))
    await ledger.close()
    await ledger.open()
    await ledger.append(decision(2))
    assert [record.decision.id for record in await ledger.recent(limit=9)] == [name(2), name(1)]
