"""Circuit breakers: which model is left alone for a while, and by which requests.

A failure may be the server's (nobody answers, whatever is asked), or owed to the request (images for a model without
eyes, a prompt on which it crashes). The former closes a model for everyone; the latter only for requests of that kind
by that caller, until a second caller meets the same.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from conduit.routing.protocols import Clock

PLAIN = ""
"""The kind of a request that needs no ability."""
CALLERS = 2
"""So many must have met the failures of a kind before they close the model for all."""
MOST_KEPT = 10_000


class Scope(NamedTuple):
    """What a failure may be owed to: who asked, and the abilities that the request needs."""

    caller: str = ""
    kind: str = PLAIN


def kind_of(needs: Collection[str]) -> str:
    return " and ".join(sorted(needs)) if needs else PLAIN


@dataclass(frozen=True, slots=True)
class Terms:
    """Closed after `threshold` failures in a row, for `rest_s`, doubled with each failed probe."""

    threshold: int = 5
    rest_s: float = 10.0
    longest_s: float = 300.0


@dataclass(slots=True)
class Health:
    """Recent failures of one model, in one scope."""

    failures: int = 0
    probed: bool = False
    """Whether a request was sent there to see."""
    closed_until_s: float = 0.0
    """No request is sent there before; then one probes, and the next failure closes it again."""

    def asked(self, now_s: float, terms: Terms) -> None:
        """After a rest this is the probe: the others wait for what becomes of it."""
        if self.failures >= terms.threshold:
            self.probed = True
            self._close(now_s, terms)

    def failed(self, now_s: float, terms: Terms) -> bool:
        """Whether this closed it. Failures of requests that were on their way when it closed say nothing new; a
        probe's does."""
        if self.closed_until_s > now_s and not self.probed:
            return False
        self.failures += 1
        self.probed = False
        if self.failures < terms.threshold:
            return False
        self._close(now_s, terms)
        return True

    def _close(self, now_s: float, terms: Terms) -> None:
        doublings = min(self.failures - terms.threshold, 30)
        self.closed_until_s = now_s + min(terms.rest_s * 2.0**doublings, terms.longest_s)


@dataclass(slots=True)
class Breaker:
    """Leaves models alone. A failure without a scope is the server's own."""

    clock: Clock
    terms: Terms = field(default_factory=Terms)
    _health: dict[tuple[str, Scope | None], Health] = field(default_factory=dict)
    _answers: set[tuple[str, str]] = field(default_factory=set)
    """Models, and the kinds of requests that they have answered."""

    @property
    def any(self) -> bool:
        """Whether anything has failed lately."""
        return bool(self._health)

    def asked(self, model: str, scope: Scope | None = None) -> None:
        if not self._health:
            return
        for key in ((model, None), (model, scope)):
            if (health := self._health.get(key)) is not None:
                health.asked(self.clock.elapsed_s(), self.terms)

    def answered(self, model: str, scope: Scope | None = None) -> None:
        if scope is not None and scope.kind != PLAIN:
            self._answers.add((model, scope.kind))
        self.alive(model, scope)

    def alive(self, model: str, scope: Scope | None = None) -> None:
        """It has said something, if only that it does not take this request."""
        if self._health:
            self._health.pop((model, None), None)
            self._health.pop((model, scope), None)

    def has_answered(self, model: str, kind: str) -> bool:
        """Whether it is known to be able to: a plain request every model can answer."""
        return kind == PLAIN or (model, kind) in self._answers

    def failed(self, model: str, scope: Scope | None = None) -> None:
        self._prune()
        self._health.setdefault((model, scope), Health()).failed(self.clock.elapsed_s(), self.terms)

    def unavailable(self, scope: Scope | None = None) -> Mapping[str, str]:
        """Model -> why no request of this scope is sent there now. Without a scope: those that some caller's plain
        requests are not sent to."""
        if not self._health:
            return {}
        return {
            model: _why(owner, health) for model, owner, health in self._closed() if self._meets(model, owner, scope)
        }

    def _closed(self) -> Iterator[tuple[str, Scope | None, Health]]:
        now_s = self.clock.elapsed_s()
        return ((model, owner, h) for (model, owner), h in self._health.items() if h.closed_until_s > now_s)

    def _meets(self, model: str, owner: Scope | None, scope: Scope | None) -> bool:
        if owner is None:
            return True
        if scope is None:
            return owner.kind == PLAIN
        if owner.kind not in {PLAIN, scope.kind}:
            return False
        return owner.caller == scope.caller or self._callers(model, owner.kind) >= CALLERS

    def _callers(self, model: str, kind: str) -> int:
        """How many find the model closed for requests of this kind."""
        return sum(name == model and owner is not None and owner.kind == kind for name, owner, _ in self._closed())

    def _prune(self) -> None:
        if len(self._health) >= MOST_KEPT:
            now_s = self.clock.elapsed_s()
            self._health = {key: health for key, health in self._health.items() if health.closed_until_s > now_s}


def _why(owner: Scope | None, health: Health) -> str:
    kind = f" of requests that need {owner.kind}" if owner is not None and owner.kind else ""
    return f"unhealthy: {health.failures} failures in a row{kind}"
