"""One execution for each Idempotency-Key, and the same answer to whoever sends the request again."""

import asyncio
from weakref import WeakSet

from conduit.core.errors import IdempotencyConflict, LedgerError, StillRunning
from conduit.core.events import Degraded
from conduit.core.idempotency import Claim, Standing, StoredAnswer
from conduit.core.protocols import Listener
from conduit.core.storage import Answers
from conduit.routing.protocols import Clock, Ids

LEASE_S = 30.0
"""So long a key of a process that died stays taken."""
SWEEP_S = 60.0


class Idempotency:
    """`ttl_s` is how long an answer is kept, `most` how many bytes of it."""

    def __init__(
        self, answers: Answers, *, clock: Clock, ids: Ids, listener: Listener, ttl_s: float, most: int
    ) -> None:
        self._answers, self._clock, self._ids, self._listener = answers, clock, ids, listener
        self._ttl_s, self.most = ttl_s, most
        # Weak: a stream that nobody ever began to read is gone without a word, and must not be renewed for ever.
        self._running: WeakSet[Claim] = WeakSet()
        self._letting_go: set[asyncio.Task[None]] = set()

    async def begin(self, *, owner: str, name: str, digest: bytes) -> Claim | StoredAnswer:
        """The claim, which is to be ended by `keep` or `let_go`; or what was answered already.

        Raises IdempotencyConflict, StillRunning, and LedgerUnavailable: without the store nothing can be promised.
        """
        now_s = self._clock.now_s()
        claim = Claim(self._ids.new("once"), owner, name, digest, now_s + LEASE_S)
        standing = await self._answers.claim(claim, now_s=now_s)
        if standing is None:
            self._running.add(claim)
            return claim
        return self._answer(standing, digest)

    async def keep(self, claim: Claim, answer: StoredAnswer) -> bool:
        """Whether it is kept: if not, the key is free again when the lease ends, and that is announced."""
        self._running.discard(claim)
        if answer.body is not None and len(answer.body) > self.most:
            answer = StoredAnswer(answer.status, answer.headers, None)
        try:
            kept = await self._answers.keep(claim, answer, until_s=self._clock.now_s() + self._ttl_s)
        except LedgerError:
            kept = False
        if not kept:
            self._listener(Degraded("idempotency", "an answer could not be kept for who sends the request again"))
        return kept

    def let_go(self, claim: Claim) -> None:
        """Nothing was answered: whoever sends the request again is the first again."""
        self._running.discard(claim)
        task = asyncio.create_task(self._release(claim))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    async def run(self) -> None:
        """Until cancelled: what runs long stays claimed, and what has expired goes."""
        swept_s = self._clock.elapsed_s()
        while True:
            await asyncio.sleep(LEASE_S / 3.0)
            try:
                await self.renew()
                if self._clock.elapsed_s() - swept_s >= SWEEP_S:
                    swept_s = self._clock.elapsed_s()
                    await self._answers.sweep(now_s=self._clock.now_s())
            except LedgerError as error:
                self._listener(Degraded("idempotency", f"{type(error).__name__}: keys could not be renewed"))

    async def renew(self) -> None:
        """Raises LedgerUnavailable."""
        running = [claim.id for claim in self._running]
        if running:
            await self._answers.renew(running, until_s=self._clock.now_s() + LEASE_S)

    async def stop(self) -> None:
        """What is being let go is free."""
        await asyncio.gather(*self._letting_go)

    async def _release(self, claim: Claim) -> None:
        try:
            await self._answers.release(claim)
        except LedgerError as error:
            self._listener(Degraded("idempotency", f"{type(error).__name__}: a key stays taken until its lease ends"))

    def _answer(self, standing: Standing, digest: bytes) -> StoredAnswer:
        if standing.digest != digest:
            raise IdempotencyConflict("this Idempotency-Key was sent with another request; send a new one with this")
        if standing.answer is None:
            raise StillRunning
        if standing.answer.body is None:
            raise IdempotencyConflict(
                "this was answered already, and the answer was too large to be kept; "
                "to have it done once more, send a new Idempotency-Key"
            )
        return standing.answer
