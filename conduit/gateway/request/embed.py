"""Embeddings: passed through, paid for and recorded. Vectors of two models cannot be compared: nobody chooses here, and
nothing is learned."""

import re
from asyncio import CancelledError, Future
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import numpy as np

from conduit.core.budget import Hold
from conduit.core.errors import AllModelsFailed, UpstreamError, UpstreamRejected
from conduit.core.events import Decided, Degraded, Settled
from conduit.core.protocols import Answer, Call, Listener, Provider, Timeouts
from conduit.core.storage import Ledger, Place
from conduit.gateway.money.spend_caps import SpendCaps
from conduit.gateway.request.answers import Completion
from conduit.gateway.request.breaker import Breaker
from conduit.gateway.request.durability import kept, looked_at, paid
from conduit.gateway.request.exchange import Ask
from conduit.gateway.request.fallback import first_answer
from conduit.gateway.request.meter import MOST_TOKENS, Meter, cost_usd, doubted
from conduit.routing.catalogue import AUTO, Catalogue, Model, Price
from conduit.routing.decision import EMBEDDINGS, Attempt, Candidate, Decision, Outcome, Status
from conduit.routing.errors import InvalidRequest, NoEligibleModel, NotFound
from conduit.routing.features import NO_FEATURES
from conduit.routing.protocols import Clock, Ids

TIMEOUTS = Timeouts()
NAME = re.compile(r"[!-~]{1,200}")
"""As of the catalogue: it goes into headers."""
MOST_NAMES, OTHER = 20, "other"
"""Names that nobody knows, in one process; more of them are recorded as one."""


@dataclass(slots=True)
class Embedding:
    """One request while it runs."""

    ask: Ask
    model: Model
    decision: Decision
    started_s: float
    meter: Meter
    hold: Hold | None = None
    attempts: list[Attempt] = field(default_factory=list)
    recorded: Future[Place] | None = None
    """Done when it is in the ledger."""
    billed: bool = False
    """Whether a call that failed may have cost something."""
    paid: Future[None] | None = None
    """Done when what it did cost is in the purse."""


class Embeddings:
    """Asks the one model that the caller names: of the catalogue; else `provider/model`; else any, of the one provider
    that there is. `list_price` tells what such a one costs, by its provider and its name there."""

    def __init__(
        self,
        *,
        catalogue: Callable[[], Catalogue],
        providers: Mapping[str, Provider],
        list_price: Callable[[str, str], Price | None],
        ledger: Ledger,
        spend_caps: SpendCaps | None,
        clock: Clock,
        ids: Ids,
        listener: Listener,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self._catalogue, self._providers, self._list_price = catalogue, providers, list_price
        self._ledger, self._spend_caps, self._ids, self._listener = ledger, spend_caps, ids, listener
        self._clock, self._timeouts = clock, timeouts
        self._breaker = Breaker(clock)
        self._names: set[str] = set()
        """Of models that are neither in the catalogue nor on a price list."""

    async def embed(self, ask: Ask) -> Completion:
        """Raises InvalidRequest, NotFound, AllModelsFailed, UpstreamRejected; NoEligibleModel and BudgetExceeded where
        a cap leaves too little.

        It is on record when the answer is there, and not before: a name that its provider does not know leaves nothing.
        """
        model = self._named(ask.model or "")
        decision = self._decision(ask, model)
        run = Embedding(ask, model, decision, self._clock.elapsed_s(), Meter(decision.input_tokens, answers=False))
        run.hold = await self._held(ask, model)
        try:
            answer = await self._answer(run)
        except NotFound:
            if run.hold is not None and self._spend_caps is not None:
                await self._spend_caps.settle(run.hold, 0.0)
            raise
        except (AllModelsFailed, UpstreamRejected) as error:
            error.decision_id = decision.id
            await self._settled(run, Status.FAILED)
            raise
        except CancelledError:  # the call may have cost money, so it is on record
            self._settle(run, Status.CANCELLED)
            raise
        run.meter.read(answer.data)
        outcome, place = await self._settled(run, Status.ANSWERED)
        return Completion(answer, decision, outcome, place)

    # -------------------------------------------------------------- before the call

    def _named(self, name: str) -> Model:
        if name == AUTO:
            raise InvalidRequest(
                "model: embeddings of two models cannot be compared; name the one that you want", param="model"
            )
        catalogue = self._catalogue()
        if name in catalogue:
            return catalogue[name]
        provider, _, upstream = name.partition("/")
        if NAME.fullmatch(name) and upstream and provider in self._providers:
            return self._recorded(self._priced(Model(name, provider, upstream)))
        if NAME.fullmatch(name) and len(self._providers) == 1:
            return self._recorded(self._priced(Model(name, next(iter(self._providers)))))
        raise NotFound("model", name, param="model")

    def _recorded(self, model: Model) -> Model:
        """Under its own name, unless it is one of many that nobody knows: some servers answer to any."""
        if model.price is not None or model.name in self._names or len(self._names) < MOST_NAMES:
            return model
        return replace(model, name=OTHER, upstream=model.upstream_name)

    def _priced(self, model: Model) -> Model:
        return replace(model, price=self._list_price(model.provider, model.upstream_name))

    def _decision(self, ask: Ask, model: Model) -> Decision:
        query = ask.query
        expected_usd = model.cost_usd(query.estimated_input_tokens, 0)
        return Decision(
            id=self._ids.new("dec"),
            time_s=self._clock.now_s(),
            model=model.name,
            propensity=1.0,
            candidates=(Candidate(model.name, 1.0, 0.0, 0.0, 0.0, expected_usd, None),),
            removed={},
            why="the caller named it",
            policy="none",
            routed=False,
            context=np.zeros(0),
            features=NO_FEATURES,
            domain=EMBEDDINGS,
            input_tokens=query.estimated_input_tokens,
            key_id=query.key_id,
            user_id=query.user_id,
        )

    async def _held(self, ask: Ask, model: Model) -> Hold | None:
        """Of what it may cost at most, where anybody who pays is capped."""
        if self._spend_caps is None:
            return None
        if model.price is None:
            unpayable = await self._spend_caps.unaffordable(ask, [model])
            if unpayable:
                raise NoEligibleModel(unpayable)
        return await self._spend_caps.hold(ask, model)

    async def _answer(self, run: Embedding) -> Answer:
        model, name = run.model, run.model.name

        async def ask(_: str) -> Answer:
            call = Call(model, run.ask.body, self._timeouts, run.ask.headers)
            try:
                return await self._providers[model.provider].embed(call)
            except UpstreamError as error:
                run.billed = error.billed
                if error.status != HTTPStatus.NOT_FOUND or name in self._catalogue():
                    raise
                self._breaker.answered(name)  # nothing is kept of names that callers make up
                raise NotFound("model", run.ask.model or name, param="model") from None

        answer = await first_answer(
            [name], ask, attempts=run.attempts, errors=[], breaker=self._breaker, clock=self._clock
        )
        self._breaker.answered(name)
        return answer

    # -------------------------------------------------------------- after it

    async def _settled(self, run: Embedding, status: Status) -> tuple[Outcome, Place | None]:
        """When it is written; and where."""
        outcome = self._settle(run, status)
        await paid(run.paid)
        return outcome, await kept(run.recorded, listener=self._listener)

    def _settle(self, run: Embedding, status: Status) -> Outcome:
        outcome = self._outcome(run, status)
        if run.model.price is None and run.model.name != OTHER and run.model.name not in self._catalogue():
            self._names.add(run.model.name)
        run.recorded = self._ledger.append(run.decision, outcome)
        run.recorded.add_done_callback(looked_at)
        if self._spend_caps is not None:
            run.paid = self._spend_caps.pay(run.hold, run.ask.query.key_name, outcome.cost_usd)
        run.ask.state.decision = run.decision
        run.ask.state.settle(outcome, outcome.latency_s)
        self._listener(Decided(run.decision))
        self._listener(Settled(run.decision, outcome, away_s=outcome.latency_s))
        return outcome

    def _outcome(self, run: Embedding, status: Status) -> Outcome:
        """Who did not answer is not charged for; of who was given up nobody knows."""
        longest = max(run.ask.size, MOST_TOKENS)  # of a batch, each text has the model's window
        used = run.meter.used(window=longest) if status is Status.ANSWERED else None
        cost = None if used is None else cost_usd(run.model.price, used)
        if status is Status.FAILED and not run.billed:
            cost = 0.0
        if used is not None and used.doubt is not None:
            self._listener(Degraded("usage", doubted(run.model, used.doubt)))
        return Outcome(
            decision_id=run.decision.id,
            time_s=self._clock.now_s(),
            model=run.model.name,
            status=status,
            attempts=tuple(run.attempts),
            input_tokens=used and used.input_tokens,
            output_tokens=used and used.output_tokens,
            measured=used is not None and used.measured,
            cost_usd=cost,
            latency_s=self._clock.elapsed_s() - run.started_s,
        )
