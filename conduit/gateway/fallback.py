"""Who is asked next when a model fails, and who is left alone for a while."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from conduit.core.decision import Attempt
from conduit.core.errors import AllModelsFailed, BudgetExceeded, UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.core.protocols import Clock

T = TypeVar("T")


@dataclass(slots=True)
class Health:
    """One model's recent failures."""

    failures: int = 0
    probed: bool = False
    """Whether somebody was sent there to see."""
    closed_until_s: float = 0.0
    """Nobody is sent there before; then one request probes, and the next failure closes it again."""


@dataclass(slots=True)
class Breaker:
    """Leaves a model alone after `threshold` failures in a row, for `rest_s`, doubled with each failed probe."""

    clock: Clock
    threshold: int = 5
    rest_s: float = 10.0
    longest_s: float = 300.0
    _health: dict[str, Health] = field(default_factory=dict)

    def asked(self, model: str) -> None:
        """Whoever is asked after a rest is the probe: the others wait for what becomes of it."""
        health = self._health.get(model)
        if health is not None and health.failures >= self.threshold:
            health.probed = True
            self._close(health)

    def answered(self, model: str) -> None:
        self._health.pop(model, None)

    def failed(self, model: str) -> None:
        """Failures of requests that were on their way when it closed say nothing new; a probe's does."""
        health = self._health.setdefault(model, Health())
        closed = health.closed_until_s > self.clock.elapsed_s()
        if closed and not health.probed:
            return
        health.failures += 1
        health.probed = False
        if health.failures >= self.threshold:
            self._close(health)

    def _close(self, health: Health) -> None:
        doublings = min(health.failures - self.threshold, 30)
        health.closed_until_s = self.clock.elapsed_s() + min(self.rest_s * 2.0**doublings, self.longest_s)

    def unavailable(self) -> Mapping[str, str]:
        """Model -> why nobody is sent there now."""
        if not self._health:
            return {}
        now = self.clock.elapsed_s()
        return {
            model: f"unhealthy: {health.failures} failures in a row"
            for model, health in self._health.items()
            if health.closed_until_s > now
        }


async def first_answer(
    models: Sequence[str],
    ask: Callable[[str], Awaitable[T]],
    *,
    attempts: list[Attempt],
    breaker: Breaker,
    clock: Clock,
) -> T:
    """Ask one after the other; every try is appended to `attempts`, the successful one last. Whether its answer came to
    a good end, the breaker is told by who reads it.

    A provider that rejects the request may only mean its own model (an unsupported parameter), so that others are
    asked; when nobody answers, the first rejection is what the caller hears. Raises it, or else AllModelsFailed;
    BudgetExceeded when nobody could be paid, so that nobody was asked.
    """
    timeouts, rejected, short = 0, None, None
    for model in models:
        started = clock.elapsed_s()
        breaker.asked(model)
        try:
            answer = await ask(model)
        except BudgetExceeded as error:  # it was not asked at all, and another may cost less
            short = short or error
            continue
        except UpstreamError as error:
            attempts.append(Attempt(model, clock.elapsed_s() - started, str(error), error.counts))
            if isinstance(error, UpstreamRejected):
                breaker.answered(model)  # it is alive enough to say no
                rejected = rejected or error
                continue
            breaker.failed(model)
            timeouts += isinstance(error, UpstreamTimeout)
        else:
            attempts.append(Attempt(model, clock.elapsed_s() - started))
            return answer
    if rejected is not None:
        raise rejected
    if short is not None and not attempts:
        raise short
    raise AllModelsFailed(attempts, timed_out=timeouts == len(attempts) > 0)
