"""One execution for each key: what holds it, what lets it go, and what is said when it cannot be kept."""

import gc

import pytest

from conduit.core.errors import IdempotencyConflict, LedgerUnavailable, StillRunning
from conduit.core.events import Degraded, Event
from conduit.core.idempotency import Claim, StoredAnswer
from conduit.gateway.request.idempotency import LEASE_S, Idempotency
from conduit.stores.sql.answers import MemoryAnswers
from conduit.testing import CountingIds, StillClock

ANSWER = StoredAnswer(200, (), b"yes")


class Away(MemoryAnswers):
    """A store that cannot be written to any more."""

    async def keep(self, claim: Claim, answer: StoredAnswer, *, until_s: float) -> bool:
        raise LedgerUnavailable("away")

    async def release(self, claim: Claim) -> None:
        raise LedgerUnavailable("away")


class Desk:
    def __init__(self, answers: MemoryAnswers | None = None) -> None:
        self.clock, self.events = StillClock(1000.0), list[Event]()
        self.once = Idempotency(
            answers or MemoryAnswers(),
            clock=self.clock,
            ids=CountingIds(),
            listener=self.events.append,
            ttl_s=100.0,
            most=10,
        )

    async def begin(self, digest: bytes = b"d") -> Claim | StoredAnswer:
        return await self.once.begin(owner="", name="n", digest=digest)

    async def claimed(self) -> Claim:
        claim = await self.begin()
        assert isinstance(claim, Claim)
        return claim


async def test_what_was_kept_is_answered_until_it_expires() -> None:
    desk = Desk()
    assert await desk.once.keep(await desk.claimed(), ANSWER)
    desk.clock.at_s += 99.0
    assert await desk.begin() == ANSWER
    with pytest.raises(IdempotencyConflict):
        await desk.begin(b"another")
    desk.clock.at_s += 1.0
    await desk.claimed()


async def test_what_runs_long_stays_claimed_and_what_died_does_not() -> None:
    desk = Desk()
    claim = await desk.claimed()
    for _ in range(10):
        desk.clock.at_s += LEASE_S / 3.0
        await desk.once.renew()
    with pytest.raises(StillRunning):
        await desk.begin()
    assert claim.name == "n"
    del claim
    gc.collect()
    desk.clock.at_s += LEASE_S / 3.0
    await desk.once.renew()
    desk.clock.at_s += LEASE_S
    await desk.claimed()


async def test_what_is_let_go_is_free() -> None:
    desk = Desk()
    desk.once.let_go(await desk.claimed())
    await desk.once.stop()
    await desk.claimed()


async def test_of_what_is_too_large_it_is_known_that_it_was_answered() -> None:
    desk = Desk()
    assert await desk.once.keep(await desk.claimed(), StoredAnswer(200, (), b"x" * 11))
    with pytest.raises(IdempotencyConflict, match="too large"):
        await desk.begin()


async def test_what_cannot_be_kept_or_let_go_is_announced_and_free_when_the_lease_ends() -> None:
    desk = Desk(Away())
    assert not await desk.once.keep(await desk.claimed(), ANSWER)
    desk.clock.at_s += LEASE_S
    desk.once.let_go(await desk.claimed())
    await desk.once.stop()
    desk.clock.at_s += LEASE_S
    await desk.claimed()
    assert [event.what for event in desk.events if isinstance(event, Degraded)] == ["idempotency"] * 2
