"""Which failures close a model, and for which requests."""

import pytest

from conduit.gateway.request.breaker import Breaker, Scope, Terms, kind_of
from conduit.routing.system import StillClock

ANN, BOB = Scope("ann"), Scope("bob")
ANNS_IMAGES, BOBS_IMAGES = Scope("ann", "vision"), Scope("bob", "vision")


def broken(*scopes: Scope | None, times: int = 5) -> Breaker:
    breaker = Breaker(StillClock())
    for scope in scopes:
        for _ in range(times):
            breaker.failed("a", scope)
    return breaker


@pytest.mark.parametrize(
    ("failing", "closed", "open_"),
    [
        pytest.param([None], [ANN, BOB, ANNS_IMAGES, None], [], id="the server itself"),
        pytest.param([ANNS_IMAGES], [ANNS_IMAGES], [ANN, BOB, BOBS_IMAGES, None], id="one caller's images"),
        pytest.param([ANN], [ANN, ANNS_IMAGES, None], [BOB, BOBS_IMAGES], id="one caller's plain requests"),
        pytest.param(
            [ANNS_IMAGES, BOBS_IMAGES], [ANNS_IMAGES, Scope("eve", "vision")], [ANN, Scope("eve")], id="all images"
        ),
        pytest.param(
            [ANN, BOB], [ANN, Scope("eve"), Scope("eve", "tools"), None], [], id="two callers' plain requests"
        ),
        pytest.param([ANN, BOBS_IMAGES], [ANN, BOBS_IMAGES], [BOB, Scope("eve")], id="unlike things"),
    ],
)
def test_a_failure_closes_for_those_to_whom_it_may_be_owed(
    failing: list[Scope | None], closed: list[Scope | None], open_: list[Scope | None]
) -> None:
    breaker = broken(*failing)
    assert [scope for scope in closed if "a" not in breaker.unavailable(scope)] == []
    assert [scope for scope in open_ if "a" in breaker.unavailable(scope)] == []


def test_an_answer_heals_its_own_scope_and_the_server() -> None:
    breaker = broken(None, ANN, BOBS_IMAGES)
    breaker.answered("a", ANN)
    assert not breaker.unavailable(ANN)
    assert "need vision" in breaker.unavailable(BOBS_IMAGES)["a"]


def test_what_a_model_was_never_seen_to_do_it_may_be_unable_to_do() -> None:
    breaker = Breaker(StillClock())
    assert breaker.has_answered("a", "")
    assert not breaker.has_answered("a", "vision")
    breaker.answered("a", ANNS_IMAGES)
    assert breaker.has_answered("a", "vision")
    assert not breaker.has_answered("a", kind_of(["vision", "tools"]))


def test_a_probe_is_of_its_scope() -> None:
    clock = StillClock()
    breaker = Breaker(clock, Terms(threshold=1))
    breaker.failed("a", ANNS_IMAGES)
    clock.at_s = 10.1
    assert not breaker.unavailable(ANNS_IMAGES)
    breaker.asked("a", ANN)
    assert not breaker.unavailable(ANNS_IMAGES)
    breaker.asked("a", ANNS_IMAGES)
    assert breaker.unavailable(ANNS_IMAGES)


def test_what_is_kept_is_bounded() -> None:
    """Of callers that are many, those for whom it is open are forgotten."""
    breaker = Breaker(StillClock())
    for number in range(10_050):
        breaker.failed("a", Scope(f"caller {number}"))
    assert len(breaker._health) <= 10_000
