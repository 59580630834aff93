"""What was seen long ago counts less, in every signal."""

import pytest

from conduit import Model, Price, Router
from conduit.routing.system import CountingIds, StillClock
from tests.support.plain import PlainFeatures

ONLY = Model("only", "p", price=Price(0.0, 10.0))
DAY_S = 86400.0
FORGETFUL = ("hierarchical", "thompson_sampling", "contextual_thompson_sampling", "linucb", "paced_linucb")


def taught(policy: str, half_life_s: float) -> Router:
    """Two hundred answers, and a hundred days later one more, much like them."""
    clock = StillClock(1.8e9)
    more = {"features": PlainFeatures(), "half_life_s": half_life_s}
    router = Router([ONLY], policy=policy, seed=1, clock=clock, ids=CountingIds(), **more)
    for n in range(201):
        clock.at_s = 1.8e9 + 100 * DAY_S * (n == 200) + n
        router.fold(router.choose("hello").observation(quality=n % 2, output_tokens=100 + n % 2))
    router.beliefs.refresh()
    return router


@pytest.mark.parametrize("policy", FORGETFUL)
def test_who_forgets_is_sure_of_what_was_seen_last_only(policy: str) -> None:
    forgetful, faithful = (taught(policy, half_life_s) for half_life_s in (DAY_S, 0.0))
    doubt = [r.choose("hello").chosen.quality_sd for r in (forgetful, faithful)]
    assert doubt[0] > 3 * doubt[1]
    x = forgetful.features.context("hello")
    (wide,), (narrow,) = (r.beliefs.costs_usd(ONLY, [x], [10])[1] for r in (forgetful, faithful))
    assert wide > 3 * narrow
    assert forgetful.beliefs.changes == {}
