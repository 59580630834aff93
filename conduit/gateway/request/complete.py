"""One request: look, choose, record, call, fall back, settle the outcome."""

from asyncio import CancelledError, Future
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson

from conduit.core.cache_entry import CachedAnswer
from conduit.core.errors import AllModelsFailed, BudgetExceeded, LedgerError, UpstreamError, UpstreamRejected
from conduit.core.events import Decided, Degraded, Settled
from conduit.core.protocols import Answer, Call, Frame, Listener, Provider, Timeouts
from conduit.core.storage import Ledger, Place, Standby
from conduit.gateway.judge.judge import Judge
from conduit.gateway.judge.transcript import Transcript
from conduit.gateway.learning.observations import lessons_of_outcome
from conduit.gateway.money.spend_caps import SpendCaps
from conduit.gateway.request.answers import Completion, Stream, error_frame
from conduit.gateway.request.breaker import Breaker
from conduit.gateway.request.cache import NO_LOOK, AnswerCache, Look, Recording
from conduit.gateway.request.content import up_to_content
from conduit.gateway.request.durability import SPOOLED, kept, looked_at, paid
from conduit.gateway.request.exchange import Ask, Exchange
from conduit.gateway.request.fallback import first_answer
from conduit.gateway.request.meter import Meter
from conduit.gateway.request.rejections import Rejections
from conduit.gateway.request.sessions import Sessions
from conduit.gateway.steps import Step
from conduit.routing.catalogue import Model
from conduit.routing.decision import Decision, Outcome, Status
from conduit.routing.errors import NoEligibleModel
from conduit.routing.protocols import Clock
from conduit.routing.router import NOBODY, Router

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Beside:
    """Who has a say beside the router, each where there is one."""

    judge: Judge | None = None
    spend_caps: SpendCaps | None = None
    sessions: Sessions | None = None
    cache: AnswerCache | None = None


ALONE = Beside()
TIMEOUTS = Timeouts()


class Gateway:
    """Answers requests. `attempts` is how many models are asked before one fails; after a time-out another is asked
    only if it may answer within `deadline_s` of the request."""

    def __init__(
        self,
        *,
        router: Router,
        ledger: Ledger,
        providers: Mapping[str, Provider],
        breaker: Breaker,
        clock: Clock,
        listener: Listener,
        timeouts: Timeouts = TIMEOUTS,
        deadline_s: float = TIMEOUTS.total_s,
        attempts: int = 3,
        beside: Beside = ALONE,
    ) -> None:
        self._router, self._ledger, self._providers = router, ledger, providers
        self._breaker, self._clock, self._listener = breaker, clock, listener
        self._timeouts, self._deadline_s, self._attempts = timeouts, deadline_s, attempts
        self._rejections = Rejections(clock, self._rejects)
        self._judge, self._spend_caps, self._sessions = beside.judge, beside.spend_caps, beside.sessions
        self._cache = beside.cache
        self._routing, self._choosing = Step(listener, "route"), Step(listener, "choose")

    async def decide(self, ask: Ask) -> Decision:
        """Only choose. Durable when this returns; raises LedgerUnavailable when it cannot be."""
        exchange = await self._begin(ask)
        if await exchange.recorded is Place.SPOOL:
            self._listener(SPOOLED)
        return exchange.decision

    async def complete(self, ask: Ask) -> Completion:
        """Raises NoEligibleModel, NotFound, AllModelsFailed, UpstreamRejected."""
        look = await self._look(ask, stream=False)
        if look.answer is not None:
            return await self._recalled(ask, look, look.answer)
        exchange = await self._begin(ask)

        async def whole(provider: Provider, call: Call) -> Answer:
            return await provider.complete(call)

        answer = await self._first(exchange, ask, whole)
        self._breaker.answered(exchange.model, ask.scope)
        exchange.meter.read(answer.data)
        outcome = self._settle(exchange, Status.ANSWERED)
        place, transcript = await self._kept(exchange), self._hear(exchange, ask)
        if transcript is not None:
            transcript.read(answer.data)
        self._heard(transcript, place)
        self._keep(exchange, look, answer.body)
        return Completion(answer, exchange.decision, outcome, place, look)

    async def stream(self, ask: Ask) -> Stream:
        """Returns when the first content is there; until then another model may answer, and it raises what `complete`
        raises."""
        look = await self._look(ask, stream=True)
        if look.answer is not None:
            exchange = self._recall(ask, look.answer)
            frames = self._replayed(exchange, look.answer)
            return Stream(frames, exchange.decision, exchange.model, 0, lambda: True, look)
        exchange = await self._begin(ask)

        async def begun(provider: Provider, call: Call) -> tuple[list[Frame], AsyncGenerator[Frame]]:
            frames = provider.stream(call)
            return await up_to_content(frames), frames

        first, rest = await self._first(exchange, ask, begun)
        exchange.first_byte_s = self._clock.elapsed_s() - exchange.started_s
        frames = self._frames(exchange, first, rest, ask=ask, look=look)
        attempts = len(exchange.attempts)
        whole, spooled = lambda: exchange.answered, self._spooled(exchange)
        return Stream(frames, exchange.decision, exchange.model, attempts, whole, look, spooled)

    def unavailable(self) -> Mapping[str, str]:
        """Model -> why nobody is sent there now."""
        return self._breaker.unavailable()

    # -------------------------------------------------------------- the cache

    async def _look(self, ask: Ask, *, stream: bool) -> Look:
        """An answer of a model that is no longer there is none."""
        if self._cache is None:
            return NO_LOOK
        look = await self._cache.look(ask, stream=stream)
        if look.answer is not None and look.answer.model not in self._router.catalogue:
            look = replace(look, found="miss", answer=None)
        self._cache.tell(look)
        return look

    def _recall(self, ask: Ask, answer: CachedAnswer) -> Exchange:
        """A decision of its own, so that it can be rated: nothing was chosen, spent or waited for."""
        started_s = self._clock.elapsed_s()
        with self._routing:
            assigned = self._router.assign(ask.query, answer.model)
            decision = replace(assigned, why=f"the same was asked before: the answer to {answer.decision_id}")
            recorded = self._ledger.append(decision)
            ask.state.decision = decision
            self._listener(Decided(decision))
        meter = Meter(decision.input_tokens, response_id=answer.response_id)
        return Exchange(decision, recorded, self._clock, meter, started_s, key_name=ask.query.key_name, state=ask.state)

    async def _recalled(self, ask: Ask, look: Look, found: CachedAnswer) -> Completion:
        exchange = self._recall(ask, found)
        outcome = self._settle(exchange, Status.CACHED)
        answer = Answer(found.body, orjson.loads(found.body))
        return Completion(answer, exchange.decision, outcome, await self._kept(exchange), look)

    async def _replayed(self, exchange: Exchange, found: CachedAnswer) -> AsyncIterator[bytes]:
        self._settle(exchange, Status.CACHED)
        yield found.body
        await self._kept(exchange)
        yield DONE

    def _keep(self, exchange: Exchange, look: Look, body: bytes | None) -> None:
        if self._cache is not None and body is not None:
            answer = CachedAnswer(exchange.model, exchange.decision.id, exchange.meter.response_id, body)
            self._cache.keep(look, answer)

    # -------------------------------------------------------------- the steps

    async def _begin(self, ask: Ask) -> Exchange:
        started_s = self._clock.elapsed_s()
        unaffordable = (
            NOBODY if self._spend_caps is None else await self._spend_caps.unaffordable(ask, self._offered(ask))
        )
        ask = await self._seated(ask)
        try:
            decision, recorded = self._decide(ask, unaffordable)
        except NoEligibleModel as error:
            if self._spend_caps is not None and _for_money(error.removed, unaffordable):
                raise await self._spend_caps.refusal(ask, self._offered(ask)) from None
            raise
        meter = Meter(decision.input_tokens)
        name, state = ask.query.key_name, ask.state
        return Exchange(decision, recorded, self._clock, meter, started_s, ask.choices, key_name=name, state=state)

    async def _seated(self, ask: Ask) -> Ask:
        """With the session's last model, where that is to count."""
        if self._sessions is None or ask.model is not None or ask.query.session_id is None:
            return ask
        return replace(ask, query=replace(ask.query, incumbent=await self._sessions.incumbent(ask.query)))

    def _offered(self, ask: Ask) -> Iterable[Model]:
        return self._router.catalogue if ask.model is None else [self._router.catalogue[ask.model]]

    def _decide(self, ask: Ask, unaffordable: Mapping[str, str]) -> tuple[Decision, Future[Place]]:
        with self._routing:
            with self._choosing:
                decision = self._choose(ask, unaffordable)
            recorded = self._ledger.append(decision)
            ask.state.decision = decision
            self._listener(Decided(decision))
        return decision, recorded

    def _choose(self, ask: Ask, unaffordable: Mapping[str, str]) -> Decision:
        if ask.model is None:
            unavailable = self._unavailable(ask)
            pacer = None if self._spend_caps is None else self._spend_caps.pacer(ask.query.key_name)
            return self._router.choose(ask.query, unavailable=unavailable, unaffordable=unaffordable, pacer=pacer)
        if ask.model in unaffordable:
            raise NoEligibleModel(unaffordable)
        return self._router.assign(ask.query, ask.model)

    async def _first(self, exchange: Exchange, ask: Ask, how: Callable[[Provider, Call], Awaitable[T]]) -> T:
        """The first model that begins to answer, in the decision's order."""

        async def ask_one(name: str) -> T:
            model = self._router.catalogue.known(name)
            assert model is not None, "decided upon"
            call = Call(model, await self._held(exchange, ask, model), self._timeouts, ask.headers)
            if self._rejections.any:
                self._rejections.asked(name, ask)
            asked_s = self._clock.elapsed_s()
            try:
                return await how(self._providers[model.provider], call)
            finally:
                exchange.models_s += self._clock.elapsed_s() - asked_s

        models = (exchange.decision.model, *exchange.decision.alternatives)[: self._attempts]
        try:
            answer = await first_answer(
                models,
                ask_one,
                attempts=exchange.attempts,
                errors=exchange.errors,
                breaker=self._breaker,
                clock=self._clock,
                scope=ask.scope,
                in_time=lambda model, waited_s: exchange.may_answer(model, waited_s, within_s=self._deadline_s),
            )
        except (AllModelsFailed, UpstreamRejected, BudgetExceeded, LedgerError) as error:
            self._settle(exchange, Status.FAILED)
            error.decision_id = exchange.decision.id
            await self._kept(exchange)
            raise
        except CancelledError:  # the call may have cost money, so it is on record
            self._settle(exchange, Status.CANCELLED)
            raise
        self._remember(exchange, ask)
        return answer

    def _remember(self, exchange: Exchange, ask: Ask) -> None:
        """That this model took the request, and others did not."""
        if not (exchange.errors or self._rejections.any):
            return
        self._rejections.accepted(exchange.model, ask)
        for attempt, error in zip(exchange.attempts, exchange.errors, strict=False):
            if isinstance(error, UpstreamRejected):
                self._rejections.rejected(attempt.model, error, ask)

    def _rejects(self, model: str, kind: str) -> None:
        self._listener(
            Degraded("rejections", f"{model} rejects {kind}, which others answer; it is left alone with them")
        )

    def _unavailable(self, ask: Ask) -> Mapping[str, str]:
        """Model -> why this request is not sent there now."""
        sick = self._breaker.unavailable(ask.scope) if self._breaker.any else NOBODY
        return {**self._rejections.unavailable(ask), **sick} if self._rejections.any else sick

    async def _held(self, exchange: Exchange, ask: Ask, model: Model) -> Mapping[str, object]:
        """The body to send, when its worst case is paid for. Raises BudgetExceeded and LedgerUnavailable."""
        if self._spend_caps is None:
            return ask.body
        if exchange.hold is not None:  # of the model that failed: it stays where that may have been charged
            await self._spend_caps.settle(exchange.hold, exchange.hold.usd if exchange.errors[-1].billed else 0.0)
            exchange.hold = None
        exchange.hold = await self._spend_caps.hold(ask, model)
        return ask.body if exchange.hold is None else self._spend_caps.limited(ask, model)

    async def _frames(
        self,
        exchange: Exchange,
        first: list[Frame],
        rest: AsyncGenerator[Frame],
        *,
        ask: Ask,
        look: Look,
    ) -> AsyncIterator[bytes]:
        """What the caller gets: the provider's bytes, then ``[DONE]`` once all is durable."""
        status, transcript, ready = Status.CANCELLED, self._hear(exchange, ask), iter(first)
        recording = Recording(self._cache.most) if self._cache is not None and look.slot is not None else None
        try:
            async with aclosing(rest):
                frame = next(ready, None)
                while frame is not None:
                    exchange.meter.read(frame.data or {})
                    if transcript is not None:
                        transcript.read(frame.data or {})
                    if recording is not None:
                        recording.add(frame.raw)
                    handed_s = self._clock.elapsed_s()
                    if frame.raw:
                        yield frame.raw
                    taken_s = self._clock.elapsed_s()
                    exchange.reader_s += taken_s - handed_s
                    frame = next(ready, None) or await anext(rest, None)
                    exchange.models_s += self._clock.elapsed_s() - taken_s
            status, exchange.answered = Status.ANSWERED, True
            self._breaker.answered(exchange.model, ask.scope)
        except UpstreamError as error:
            status = Status.FAILED
            exchange.broke_off(str(error), counts=error.counts)
            self._breaker.failed(exchange.model, None if error.server else ask.scope)
            yield error_frame(error, exchange.model)
        finally:
            self._settle(exchange, status)
        place = await self._kept(exchange)
        self._heard(transcript, place if status is Status.ANSWERED else None)
        if recording is not None and status is Status.ANSWERED:
            self._keep(exchange, look, recording.body)
        yield DONE

    def _hear(self, exchange: Exchange, ask: Ask) -> Transcript | None:
        return None if self._judge is None else self._judge.hear(exchange.decision.id, exchange.model, ask)

    def _heard(self, transcript: Transcript | None, place: Place | None) -> None:
        """A verdict on what the ledger does not know would have no place to go."""
        if transcript is not None and place is Place.LEDGER and self._judge is not None:
            self._judge.take(transcript)

    def _settle(self, exchange: Exchange, status: Status) -> Outcome:
        """Queue what became of it, and what that teaches, behind the decision."""
        outcome = exchange.outcome(status, self._router.catalogue)
        exchange.settled = self._ledger.append(outcome, *lessons_of_outcome(exchange.decision, outcome))
        exchange.settled.add_done_callback(looked_at)
        if self._spend_caps is not None and status is not Status.CACHED:
            keeps_hold = exchange.keeps_hold(status)
            exchange.paid = self._spend_caps.pay(
                exchange.hold, exchange.key_name, outcome.cost_usd, keeps_hold=keeps_hold
            )
        if exchange.doubt is not None:
            self._listener(Degraded("usage", exchange.doubt))
        exchange.state.settle(outcome, exchange.away_s)
        self._listener(Settled(exchange.decision, outcome, away_s=exchange.away_s))
        return outcome

    def _spooled(self, exchange: Exchange) -> bool:
        """Headers leave before it is known; while others wait in the spool, this decision will, too."""
        return exchange.spooled if exchange.recorded.done() else self._ledger.standby is Standby.BUSY

    async def _kept(self, exchange: Exchange) -> Place | None:
        """Wait for the ledger. The outcome is part of the promise: feedback may come at once, to another worker."""
        await paid(exchange.paid)
        return await kept(exchange.recorded, exchange.settled, listener=self._listener)


def _for_money(removed: Mapping[str, str], unaffordable: Mapping[str, str]) -> bool:
    """Whether somebody would be left if there were dollars: then it is no fault of the request."""
    return any("price unknown" not in why and removed.get(name) == why for name, why in unaffordable.items())
