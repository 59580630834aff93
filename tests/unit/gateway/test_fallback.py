"""Who is asked next, and who is left alone."""

import pytest

from conduit.core.errors import AllModelsFailed, UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.gateway.request.breaker import Breaker, Terms
from conduit.gateway.request.fallback import first_answer
from conduit.routing.decision import Attempt
from conduit.routing.system import StillClock


async def asked(outcomes: dict[str, object], attempts: list[Attempt], breaker: Breaker | None = None) -> str:
    async def ask(model: str) -> str:
        outcome = outcomes[model]
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    clock = StillClock()
    return await first_answer(
        list(outcomes), ask, attempts=attempts, errors=[], breaker=breaker or Breaker(clock), clock=clock
    )


async def test_the_next_model_is_asked_when_one_fails_and_every_try_is_recorded() -> None:
    attempts: list[Attempt] = []
    assert await asked({"a": UpstreamError("http 503"), "b": "yes", "c": "never"}, attempts) == "yes"
    assert attempts == [Attempt("a", 0, "http 503", counts=True), Attempt("b", 0)]


async def test_when_all_fail_the_attempts_are_kept() -> None:
    with pytest.raises(AllModelsFailed) as caught:
        await asked({"a": UpstreamError("http 503"), "b": UpstreamTimeout("no answer in time")}, [])
    assert [a.model for a in caught.value.attempts] == ["a", "b"]
    assert not caught.value.timed_out


async def test_only_timeouts_make_a_timeout() -> None:
    with pytest.raises(AllModelsFailed) as caught:
        await asked({"a": UpstreamTimeout("no answer in time")}, [])
    assert caught.value.timed_out


async def test_a_rejection_may_only_mean_that_model_and_teaches_nothing() -> None:
    attempts: list[Attempt] = []
    breaker = Breaker(StillClock(), terms=Terms(threshold=1))
    rejection = UpstreamRejected("http 400", status=400, body=b"{}")
    assert await asked({"a": rejection, "b": "yes"}, attempts, breaker) == "yes"
    assert [a.counts for a in attempts] == [False, False]
    assert not breaker.unavailable()


async def test_when_nobody_answers_the_first_rejection_is_what_the_caller_hears() -> None:
    first, second = (UpstreamRejected("http 400", status=400, body=body) for body in (b"1", b"2"))
    with pytest.raises(UpstreamRejected) as caught:
        await asked({"a": UpstreamError("http 503"), "b": first, "c": second}, [])
    assert caught.value.body == b"1"


def test_the_breaker_opens_after_five_failures_and_rests_longer_each_time() -> None:
    clock = StillClock()
    breaker = Breaker(clock)
    for _ in range(4):
        breaker.failed("a")
    assert not breaker.unavailable()
    breaker.failed("a")
    assert set(breaker.unavailable()) == {"a"}
    clock.at_s = 10.1
    assert not breaker.unavailable()
    breaker.asked("a")
    breaker.failed("a")
    clock.at_s = 20.5
    assert set(breaker.unavailable()) == {"a"}
    clock.at_s = 30.5
    assert not breaker.unavailable()


def test_failures_of_requests_on_their_way_do_not_lengthen_the_rest() -> None:
    clock = StillClock()
    breaker = Breaker(clock)
    for _ in range(50):
        breaker.failed("a")
    clock.at_s = 10.1
    assert not breaker.unavailable()


def test_after_a_rest_one_request_probes_and_the_others_wait() -> None:
    clock = StillClock()
    breaker = Breaker(clock, terms=Terms(threshold=1))
    breaker.failed("a")
    clock.at_s = 10.1
    assert not breaker.unavailable()
    breaker.asked("a")
    assert set(breaker.unavailable()) == {"a"}
    breaker.answered("a")
    assert not breaker.unavailable()


def test_one_answer_heals() -> None:
    breaker = Breaker(StillClock())
    for _ in range(9):
        breaker.failed("a")
    breaker.answered("a")
    assert not breaker.unavailable()
