"""Events -> numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conduit.core.events import (
    Arrived,
    CacheAsked,
    Capped,
    Decided,
    Degraded,
    Drifted,
    Event,
    FeedbackCapped,
    FeedbackGiven,
    Followed,
    Judged,
    ModelsListed,
    NotJudged,
    Served,
    SetAside,
    Settled,
    SnapshotRefused,
)
from conduit.observability.metrics import metrics as m
from conduit.observability.metrics.samples import Samples
from conduit.observability.tracing.names import CHAT, EMBEDDINGS
from conduit.routing.decision import Attempt, Candidate, Decision, Outcome, Status
from conduit.routing.protocols import Clock

NOBODY = "none"
"""The key of who has none."""
Call = tuple[str, str, str]
"""Operation, provider and model."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


AT_ONCE = 64
"""Decisions; a killed process loses the candidates of so many, and nothing else."""
BELIEVED = (m.PROBABILITY, m.QUALITY, m.QUALITY_SD)


@dataclass(slots=True)
class Known:
    """What is known once the gateway is put together, which comes after the first counts."""

    providers: dict[str, str] = field(default_factory=dict)
    """Model -> who offers it, for labels."""
    baseline: Callable[[], str] = str
    """The model that savings are told against."""


class CountingListener:
    """About ten microseconds a request of five candidates."""

    def __init__(self, samples: Samples, clock: Clock, known: Known) -> None:
        self._samples, self._clock, self._known = samples, clock, known
        self._considered: list[tuple[Candidate, ...]] = []
        self._ears: Mapping[type, Callable[[Any], None]] = {
            Arrived: self._arrived,
            Served: self._served,
            Decided: self._decided,
            Settled: self._settled,
            FeedbackGiven: self._feedback,
            Capped: lambda e: samples.add(m.BUDGET_EXCEEDED, (e.account,)),
            FeedbackCapped: lambda e: samples.add(m.CAPPED, (e.model,)),
            Judged: self._judged,
            NotJudged: lambda e: samples.add(m.NOT_JUDGED, (e.why,)),
            Followed: self._followed,
            Drifted: lambda e: samples.add(m.DRIFTED, (e.model, e.signal)),
            SetAside: lambda e: samples.add(m.SET_ASIDE, (e.field,)),
            SnapshotRefused: lambda e: samples.add(m.SNAPSHOTS_REFUSED, (e.why,)),
            CacheAsked: lambda e: samples.add(m.CACHE_HITS if e.hit else m.CACHE_MISSES),
            Degraded: lambda e: samples.add(m.DEGRADED, (e.what,)),
            ModelsListed: lambda e: known.providers.update(dict.fromkeys(e.arrived, e.provider)),
        }

    @property
    def hears(self) -> tuple[type, ...]:
        return tuple(self._ears)

    def __call__(self, event: Event, /) -> None:
        self._ears[type(event)](event)

    # -------------------------------------------------------------- requests

    def _arrived(self, _event: Arrived) -> None:
        self._samples.add(m.IN_FLIGHT)

    def _served(self, event: Served) -> None:
        add, observe = self._samples.add, self._samples.observe
        status, route = str(event.status), event.route
        method = event.method if event.method in METHODS else m.OTHER
        add(m.IN_FLIGHT, (), -1.0)
        add(m.REQUESTS, (route, status, event.key_id or NOBODY))
        observe(m.HTTP_DURATION, (method, route, status), event.duration_s)
        if event.code is not None:
            add(m.ERRORS, (route, event.code))
        if event.away_s is not None:
            observe(m.OVERHEAD, (route,), max(event.duration_s - event.away_s, 0.0))
        for what in event.degraded:
            add(m.DEGRADED, (what,))

    # -------------------------------------------------------------- decisions

    def _decided(self, event: Decided) -> None:
        decision, samples = event.decision, self._samples
        routed, chosen = "true" if decision.routed else "false", decision.chosen
        model = self._label(decision.model, decision.domain, priced=chosen.cost_usd is not None)
        samples.add(m.DECISIONS, (model, decision.domain, routed))
        if not decision.routed:
            return
        samples.put(m.PRICE, (), decision.shadow_price)
        samples.observe(m.CONFIDENCE, (decision.model,), decision.propensity)
        best = decision.candidates[0]
        samples.observe(m.REGRET, (), best.utility - chosen.utility)
        if best is not chosen:
            samples.add(m.EXPLORED)
        for model in decision.removed:
            samples.add(m.REMOVED, (model,))
        self._considered.append(decision.candidates)
        if len(self._considered) >= AT_ONCE:
            self.catch_up()

    def catch_up(self) -> None:
        """Means over candidates are added up many at once, which takes a quarter of the time."""
        considered, self._considered = self._considered, []
        for candidates in considered:
            for c in candidates:
                self._samples.observe_all(BELIEVED, (c.model,), (c.probability, c.quality, c.quality_sd))

    # -------------------------------------------------------------- answers

    def _settled(self, event: Settled) -> None:
        decision, outcome = event.decision, event.outcome
        model = self._label(outcome.model, decision.domain, priced=outcome.cost_usd is not None)
        operation = EMBEDDINGS if decision.domain == EMBEDDINGS else CHAT
        call = operation, self._known.providers.get(outcome.model, m.OTHER), model
        self._samples.add(m.OUTCOMES, (model, outcome.status, decision.key_id or NOBODY))
        for attempt in outcome.attempts:
            self._attempt(attempt, call if attempt.model == outcome.model else self._call_of(attempt.model))
        if outcome.status is Status.ANSWERED and outcome.model != decision.model:
            self._samples.add(m.FALLBACKS, (decision.model,))
        if outcome.output_tokens is not None:
            self._used(decision, outcome, call)
        if outcome.status is Status.ANSWERED:
            self._answered(outcome, call)
            self._saved(decision, outcome)

    def _attempt(self, attempt: Attempt, call: Call) -> None:
        self._samples.observe(m.OPERATION_DURATION, (*call, attempt.error or ""), attempt.latency_s)
        if attempt.error is not None:
            self._samples.add(m.FAILED_ATTEMPTS, (call[-1], attempt.error))

    def _used(self, decision: Decision, outcome: Outcome, call: Call) -> None:
        samples, model, key = self._samples, call[-1], decision.key_id or NOBODY
        for kind, count in (("input", outcome.input_tokens or 0), ("output", outcome.output_tokens or 0)):
            samples.add(m.TOKENS_USED, (model, key, kind), count)
            samples.observe(m.TOKEN_USAGE, (*call, kind), count)
        if outcome.cost_usd is not None:
            samples.add(m.SPENT, (model, key), outcome.cost_usd)
            samples.observe(m.ROUTING_COST, (model,), outcome.cost_usd)
        elif outcome.output_tokens is not None:  # of a call that failed nobody knows, whatever the price
            samples.add(m.UNPRICED, (model,))

    def _answered(self, outcome: Outcome, call: Call) -> None:
        samples = self._samples
        samples.observe(m.ROUTING_LATENCY, (call[-1],), outcome.latency_s * 1e3)
        total_s = outcome.latency_s + sum(a.latency_s for a in outcome.attempts[:-1])
        samples.observe(m.SERVER_DURATION, call, total_s)
        if outcome.first_byte_s is not None:
            samples.observe(m.FIRST_TOKEN, call, outcome.first_byte_s)

    def _saved(self, decision: Decision, outcome: Outcome) -> None:
        """Two counters and not their difference, which may fall: Prometheus would take that for a restart."""
        if not decision.routed or outcome.cost_usd is None:
            return
        baseline = self._known.baseline()
        for candidate in decision.candidates:
            if candidate.model == baseline and candidate.cost_usd is not None:
                self._samples.add(m.BASELINE_USD, (), candidate.cost_usd)
                self._samples.add(m.COMPARED_USD, (), outcome.cost_usd)

    def _call_of(self, model: str) -> Call:
        return CHAT, self._known.providers.get(model, m.OTHER), model

    def _label(self, model: str, domain: str, *, priced: bool) -> str:
        """Names of embeddings' models that neither the catalogue nor a price list knows are callers' own text."""
        made_up = domain == EMBEDDINGS and not priced and model not in self._known.providers
        return m.OTHER if made_up else model

    # -------------------------------------------------------------- learning

    def _feedback(self, event: FeedbackGiven) -> None:
        if event.repeated:
            self._samples.add(m.REPEATED)
            return
        for kind in event.kinds:
            self._samples.add(m.FEEDBACK, (kind, event.source))
        if event.feedback.model is not None:
            self._samples.observe(m.REWARD, (event.feedback.model,), event.feedback.quality)

    def _judged(self, event: Judged) -> None:
        self._samples.add(m.JUDGED, (event.model,))
        self._samples.add(m.JUDGE_SPENT, (), event.cost_usd)

    def _followed(self, event: Followed) -> None:
        self._samples.put(m.POSITION, (), event.position)
        if event.caught_up:
            self._samples.put(m.CAUGHT_UP, (), self._clock.now_s())
