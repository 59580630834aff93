"""What was seen long ago counts less, in every signal."""

import pytest

from conduit import Model, Price, Router
from conduit.core.system import CountingIds, StillClock
from tests.support.plain import PlainFeatures

ONLY = Model("only", "p", price=Price(0.0, 10.0))
DAY_S = 86400.0
FORGETFUL = ("hierarchical", "thompson_sampling", "contextual_thompson_sampling", "linucb", "paced_linucb")


def taught(policy: str, half_life_s: float) -> Router:
    """Fifty bad long answers, and a hundred days later ten good short ones."""
    clock = StillClock(1.8e9)
    more = {"features": PlainFeatures(), "half_life_s": half_life_s}
    router = Router([ONLY], policy=policy, seed=1, clock=clock, ids=CountingIds(), **more)
    for n in range(60):
        late = n >= 50
        clock.at_s = 1.8e9 + 100 * DAY_S * late + n
        router.learn(
            router.choose("hello").observation(quality=0.9 if late else 0.1, output_tokens=20 if late else 2000)
        )
    router.beliefs.refresh()
    return router


@pytest.mark.parametrize("policy", FORGETFUL)
def test_who_forgets_believes_what_was_seen_last(policy: str) -> None:
    forgetful, faithful = (taught(policy, half_life_s).choose("hello").chosen for half_life_s in (DAY_S, 0.0))
    assert forgetful.quality > 0.75
    assert faithful.quality < 0.4
    assert forgetful.cost_usd is not None
    assert faithful.cost_usd is not None
    assert forgetful.cost_usd < 0.2 * faithful.cost_usd
