"""One request's own record: the decision, who was asked, what was used, and the outcome that they add up to."""

from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from conduit.core.budget import Hold
from conduit.core.errors import UpstreamError
from conduit.core.request_state import RequestState
from conduit.core.storage import Place
from conduit.gateway.request.asked import BESIDE_TEXT
from conduit.gateway.request.breaker import Scope, kind_of
from conduit.gateway.request.meter import Meter, Used, cost_usd, doubted
from conduit.routing.catalogue import Catalogue, Model
from conduit.routing.decision import Attempt, Decision, Outcome, Status
from conduit.routing.protocols import Clock
from conduit.routing.query import Query, estimate_tokens


def counted(value: object) -> int | None:
    """A whole number above zero, one that is written as 3.0 too; None of all else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1 or value % 1:
        return None
    return int(value)


@dataclass(frozen=True, slots=True)
class Ask:
    """What an entrance hands over."""

    query: Query
    body: Mapping[str, object]
    """For the provider, as the caller sent it."""
    model: str | None = None
    """None: choose one."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """To be sent on."""
    size: int = 0
    """Bytes of the body as it came: no prompt has more tokens than bytes. 0: what `query.text` has."""
    answers: bool = True
    """Whether tokens come out: embeddings have none."""
    cache: Literal["use", "renew", "off"] = "use"
    """Where there is one: whether an answer may come from it, and go there; `renew` is only the latter."""
    state: RequestState = field(default_factory=RequestState)
    """Of the request that asks; the gateway fills in what became of it, and what it used."""

    @property
    def scope(self) -> Scope:
        """What a model's failure at this may be owed to."""
        return Scope(self.query.key_id or "", kind_of(self.query.requirements.needs))

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return counted(self.body.get("n")) or 1

    def tokens(self, *, unsaid: int) -> int:
        """In and out, roughly: `unsaid` for each answer whose limit the caller does not say. What is no text
        weighs what its bytes do not tell."""
        query = self.query
        asked = 0 if query.requirements.needs & BESIDE_TEXT else estimate_tokens(self.size)
        most = (query.max_output_tokens or unsaid) * self.choices if self.answers else 0
        return max(asked, query.estimated_input_tokens) + most


@dataclass(slots=True)
class Exchange:
    """Grows while the request runs; `outcome` is taken once, at its end."""

    decision: Decision
    recorded: Future[Place]
    """Done when the decision is in the ledger, or in the spool."""
    clock: Clock
    meter: Meter
    started_s: float
    choices: int = 1
    """How many answers are asked for."""
    attempts: list[Attempt] = field(default_factory=list)
    errors: list[UpstreamError] = field(default_factory=list)
    """What the failed ones of them raised, in their order."""
    first_byte_s: float | None = None
    reader_s: float = 0.0
    """Spent by the caller on reading: not the model's time."""
    models_s: float = 0.0
    """Spent on waiting for models."""
    settled: Future[Place] | None = None
    """Done when the outcome is."""
    answered: bool = False
    """Whether a stream has come to its proper end."""
    key_name: str = ""
    """Whose account pays."""
    state: RequestState = field(default_factory=RequestState)
    """Of the request that asks."""
    doubt: str | None = None
    """What the provider said of its usage that cannot be."""
    hold: Hold | None = None
    """Of the model that is being asked; None where no cap is set."""
    paid: Future[None] | None = None
    """Done when what it did cost is in the purse."""

    @property
    def spooled(self) -> bool:
        """Whether it is known by now that the decision waits in the spool."""
        recorded = self.recorded
        known = recorded.done() and not recorded.cancelled() and recorded.exception() is None
        return known and recorded.result() is Place.SPOOL

    def may_answer(self, model: str, waited_s: float, *, within_s: float) -> bool:
        """Whether a whole answer of `model` is to be expected `within_s` of the request's start. Of a model of which
        nothing was seen, that it takes as long as was waited for the last."""
        forecast = next((c.latency_s for c in self.decision.candidates if c.model == model), None)
        return self._elapsed_s() + (waited_s if forecast is None else forecast) <= within_s

    @property
    def model(self) -> str:
        """Who answers, or who was asked last."""
        return self.attempts[-1].model if self.attempts else self.decision.model

    def broke_off(self, error: str, *, counts: bool) -> None:
        """The model that had begun to answer failed in mid-stream."""
        began = self.attempts.pop()
        latency_s = self._elapsed_s() - sum(a.latency_s for a in self.attempts)
        self.attempts.append(Attempt(began.model, latency_s, error, counts))

    def outcome(self, status: Status, catalogue: Catalogue) -> Outcome:
        model = catalogue.known(self.model) if self.began else None
        used, cost = (None, None) if model is None else self._used(model)
        if used is None and status is not Status.CANCELLED and not any(error.billed for error in self.errors):
            cost = 0.0  # providers do not charge for what they refuse
        return Outcome(
            decision_id=self.decision.id,
            time_s=self.clock.now_s(),
            model=self.model,
            status=status,
            attempts=tuple(self.attempts),
            input_tokens=used and used.input_tokens,
            output_tokens=used and used.output_tokens,
            measured=used is not None and used.measured,
            cost_usd=cost,
            latency_s=self._answer_latency_s(),
            first_byte_s=self.first_byte_s,
            response_id=self.meter.response_id,
        )

    def _used(self, model: Model) -> tuple[Used, float | None]:
        used = self.meter.used(window=model.context_window, choices=self.choices)
        self.doubt = used.doubt and doubted(model, used.doubt)
        return used, cost_usd(model.price, used)

    @property
    def began(self) -> bool:
        """Whether there is an answer, or the beginning of one."""
        return bool(self.attempts) and (self.attempts[-1].error is None or self.first_byte_s is not None)

    def keeps_hold(self, status: Status) -> bool:
        """Whether it may have cost more than is known: where an answer broke off or was left, its provider may go on,
        and may charge for the rest, unless it told its count. What it charges for without an answer nobody tells."""
        if self.began:
            return status is not Status.ANSWERED and not self.meter.told
        return status is Status.CANCELLED or any(error.billed for error in self.errors[-1:])

    @property
    def away_s(self) -> float:
        """What of all the time was not the gateway's own."""
        return self.models_s + self.reader_s

    def _answer_latency_s(self) -> float:
        """Of the model that answered, without the failed ones before it: that is what its latency teaches."""
        return self._elapsed_s() - self.reader_s - sum(a.latency_s for a in self.attempts[:-1])

    def _elapsed_s(self) -> float:
        return self.clock.elapsed_s() - self.started_s
