"""Who answered last in a session is found in the ledger, whoever of the workers served it."""

import asyncio

import pytest

from conduit.core.errors import LedgerUnavailable
from conduit.core.events import Degraded
from conduit.gateway.request import sessions
from conduit.gateway.request.sessions import AT_HAND_S, LOOKS, Sessions
from conduit.routing.decision import Outcome, Record, Status
from conduit.routing.query import Incumbent, Query
from conduit.stores.memory.ledger import MemoryLedger
from tests.unit.gateway.settling import Court


class Talk:
    """A ledger with sessions in it, and who looks for their last."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self.court = Court(ledger=ledger)
        self.sessions = Sessions(
            self.court.ledger, stickiness=0.02, clock=self.court.clock, listener=self.court.events.append
        )

    async def answered(
        self, by: str, *, status: Status | None = Status.ANSWERED, key_id: str | None = None, tokens: int = 2000
    ) -> None:
        query = Query("hello", session_id="talk", key_id=key_id)
        decision = self.court.router.assign(query, "first")
        await self.court.ledger.append(decision)
        if status is not None:
            now_s = self.court.clock.at_s
            outcome = Outcome(decision.id, now_s, by, status, (), input_tokens=tokens, output_tokens=50)
            await self.court.ledger.append(outcome)

    async def last(self, session_id: str | None = "talk", key_id: str | None = None) -> Incumbent | None:
        return await self.sessions.incumbent(Query("and then?", session_id=session_id, key_id=key_id))


async def test_the_last_is_who_answered_and_not_who_was_chosen() -> None:
    talk = Talk()
    await talk.answered("first")
    await talk.answered("second")
    assert await talk.last() == Incumbent("second", 2050, 0.02)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, None])
async def test_what_failed_or_still_runs_or_was_only_asked_about_changes_nothing(status: Status | None) -> None:
    talk = Talk()
    await talk.answered("first", status=status)
    assert await talk.last() is None
    await talk.answered("first")
    for _ in range(LOOKS - 1):
        await talk.answered("second", status=status)
        assert await talk.last() == Incumbent("first", 2050, 0.02)
    await talk.answered("second", status=status)  # so many looks are enough
    assert await talk.last() is None


async def test_a_session_is_its_keys_own_and_single_prompts_have_none() -> None:
    talk = Talk()
    await talk.answered("first", key_id="ann")
    assert await talk.last() is None
    assert await talk.last(None, key_id="ann") is None
    assert await talk.last("another", key_id="ann") is None
    assert await talk.last(key_id="ann") is not None


async def test_short_and_old_conversations_are_not_at_hand() -> None:
    talk = Talk()
    await talk.answered("first", tokens=100)
    assert await talk.last() == Incumbent("first", 0, 0.02)
    await talk.answered("first")
    talk.court.clock.at_s += AT_HAND_S + 1
    assert await talk.last() == Incumbent("first", 0, 0.02)


class Away(MemoryLedger):
    """Does not answer."""

    async def latest(self, session_id: str, *, key_id: str | None, before: str | None = None) -> Record | None:
        raise LedgerUnavailable("away")


class Slow(MemoryLedger):
    """Answers when nobody waits any more."""

    async def latest(self, session_id: str, *, key_id: str | None, before: str | None = None) -> Record | None:
        return await asyncio.Event().wait() or None


@pytest.mark.parametrize("ledger", [Away(), Slow()])
async def test_without_the_ledger_nobody_is_kept_and_it_is_said(
    ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE_S", 0.01)
    talk = Talk(ledger)
    assert await talk.last() is None
    assert [event.what for event in talk.court.events if isinstance(event, Degraded)] == ["sessions"]
