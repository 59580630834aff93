"""Which model is asked next when one fails."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from conduit.core.errors import AllModelsFailed, BudgetExceeded, UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.gateway.request.breaker import PLAIN, Breaker, Scope
from conduit.routing.decision import Attempt
from conduit.routing.protocols import Clock

T = TypeVar("T")


def always(_model: str, _waited_s: float) -> bool:
    """There is no deadline."""
    return True


async def first_answer(
    models: Sequence[str],
    ask: Callable[[str], Awaitable[T]],
    *,
    attempts: list[Attempt],
    errors: list[UpstreamError],
    breaker: Breaker,
    clock: Clock,
    scope: Scope | None = None,
    in_time: Callable[[str, float], bool] = always,
) -> T:
    """Ask one after the other; every try is appended to `attempts`, the successful one last, and what the others raised
    to `errors`. Whether its answer came to a good end, the breaker is told by who reads it.

    A provider that rejects the request may only mean its own model (an unsupported parameter), so that others are
    asked; when none answers, the first rejection is what the caller hears. After a time-out, which may have been paid
    for, another is asked only if it may answer `in_time` (its name, and how long was waited). Raises the rejection, or
    else AllModelsFailed; BudgetExceeded when none could be paid, so that none was asked.
    """
    short: BudgetExceeded | None = None
    for model in models:
        if errors and isinstance(errors[-1], UpstreamTimeout) and not in_time(model, attempts[-1].latency_s):
            break
        started = clock.elapsed_s()
        breaker.asked(model, scope)
        try:
            answer = await ask(model)
        except BudgetExceeded as error:  # it was not asked at all, and another may cost less
            short = short or error
        except UpstreamError as error:
            counts = error.counts and _is_its_own(error, model, breaker, scope)
            attempts.append(Attempt(model, clock.elapsed_s() - started, str(error), counts))
            errors.append(error)
            _tell(breaker, model, error, scope)
        else:
            attempts.append(Attempt(model, clock.elapsed_s() - started))
            return answer
    if short is not None and not attempts:
        raise short
    raise next((error for error in errors if isinstance(error, UpstreamRejected)), None) or AllModelsFailed(
        attempts, errors
    )


def _is_its_own(error: UpstreamError, model: str, breaker: Breaker, scope: Scope | None) -> bool:
    """A model that fails at what it has never answered may not be able to: that says nothing of its quality."""
    return error.server or breaker.has_answered(model, PLAIN if scope is None else scope.kind)


def _tell(breaker: Breaker, model: str, error: UpstreamError, scope: Scope | None) -> None:
    if isinstance(error, UpstreamRejected):
        breaker.alive(model, scope)  # alive enough to say no
    else:
        breaker.failed(model, None if error.server else scope)
