"""What holds for every policy that has a name, through the router and alone."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from conduit import Model, Preferences, Price, Query, Router, cli
from conduit.bandits.policy import Menu, Policy
from conduit.routing.decision import Decision
from conduit.routing.policies import POLICIES, make_policy
from conduit.routing.system import CountingIds, StillClock
from tests.unit.bandits.strategies import ARMS, BLOCKS, DIMENSION, Seen, context, stream

NAMES = [*POLICIES, "fixed:good"]
STATELESS = {"uniform", "fixed:good"}
DO_NOT_CHOOSE_BY_QUALITY = {"uniform", "fixed:good", "always_cheapest"}
NOT_A_FOLD = {"knn"}
QUALITY = {"good": 0.8, "middling": 0.5, "poor": 0.2}
UNIFORM_REGRET = 0.3
MARGIN = 0.15
"""Of 300 rounds' second half, where chance loses .3 a round."""

X = context(np.random.default_rng(0))
MENU = Menu(ARMS, np.array([0.1, 0.0, 0.3, 0.05]))

every_name = pytest.mark.parametrize("name", NAMES)


class NumberFeatures:
    """A prompt is a number in [-1, 1]: small enough for three hundred rounds of every policy."""

    version = "number"
    blocks = (1, 1)

    def context(self, text: str) -> np.ndarray:
        return np.array([float(text), 1.0])

    def domain(self, x: np.ndarray) -> str:
        return "other"


def easy_router(name: str, *, seed: int = 0) -> Router:
    models = [Model(m, "p", price=Price(1.0, 1.0)) for m in QUALITY]
    return Router(models, policy=name, seed=seed, features=NumberFeatures(), clock=StillClock(), ids=CountingIds())


def rounds(router: Router, n: int) -> tuple[list[Decision], float]:
    """The decisions, and the mean regret of the second half."""
    rng = np.random.default_rng(1)
    decisions = []
    for _ in range(n):
        query = Query(f"{rng.uniform(-1, 1):.3f}", preferences=Preferences(1, 0, 0))
        decisions.append(decision := router.choose(query))
        quality = float(np.clip(QUALITY[decision.model] + 0.1 * rng.normal(), 0, 1))
        router.learn(decision.observation(quality=quality, output_tokens=100))
    best = max(QUALITY.values())
    return decisions, float(np.mean([best - QUALITY[d.model] for d in decisions[n // 2 :]]))


def taught(name: str, seen: list[Seen]) -> Policy:
    policy = make_policy(name, BLOCKS)
    for o in seen:
        policy.learn(o.arm, o.x, o.y, weight=o.weight, time_s=o.time_s)
    policy.refresh()
    return policy


def answer(policy: Policy) -> np.ndarray:
    d = policy.distribution(X, MENU)
    return np.array([d.probability, d.mean, d.width])


@every_name
def test_it_routes_with_probabilities_and_learns_to_lose_less_than_chance(name: str) -> None:
    """Seed 0: in the second half of 300 rounds every learner's regret is .15 a round below uniform's expected .3."""
    decisions, regret = rounds(easy_router(name), 300)
    for decision in decisions:
        pi = [c.probability for c in decision.candidates]
        assert min(pi) >= 0
        assert sum(pi) == pytest.approx(1)
        assert decision.propensity > 0
    if name not in DO_NOT_CHOOSE_BY_QUALITY:
        assert regret < UNIFORM_REGRET - MARGIN


def test_the_command_line_names_every_policy() -> None:
    described = inspect.signature(cli.replay).parameters["policy"].default.help
    assert set(POLICIES) <= set(described.replace(" or", ",").split(", "))


@every_name
def test_retracting_through_the_router_undoes_what_was_learned(name: str) -> None:
    router, untouched = easy_router(name), easy_router(name)
    said = [d.observation(quality=0.9) for d in rounds(untouched, 20)[0]]
    for o in said:
        router.fold(o)
    for o in reversed(said):
        router.fold(replace(o, weight=-1.0))
    router.beliefs.refresh()
    fresh = easy_router(name).choose("0.5").candidates
    again = router.choose("0.5").candidates
    assert [c.probability for c in again] == pytest.approx([c.probability for c in fresh], abs=1e-6)
    assert [c.quality for c in again] == pytest.approx([c.quality for c in fresh], abs=1e-6)


@every_name
def test_retracting_every_weighted_observation_returns_the_prior(name: str) -> None:
    seen = stream(0, 50)
    back = [replace(o, weight=-o.weight) for o in seen]
    np.testing.assert_allclose(answer(taught(name, seen + back)), answer(taught(name, [])), atol=1e-6)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NOT_A_FOLD])
def test_the_order_of_observations_does_not_matter(name: str) -> None:
    seen = stream(3, 80)
    shuffled = [seen[i] for i in np.random.default_rng(3).permutation(len(seen))]
    np.testing.assert_allclose(answer(taught(name, shuffled)), answer(taught(name, seen)), atol=1e-6)


@every_name
def test_a_restored_state_gives_the_same_answer(name: str) -> None:
    one, other = taught(name, stream(0, 80)), make_policy(name, BLOCKS)
    other.restore(one.state())
    other.refresh()
    np.testing.assert_allclose(answer(other), answer(one), atol=1e-12)


@every_name
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(name: str) -> None:
    """Under an unknown name, and under each of the policy's own."""
    policy = taught(name, stream(0, 20))
    before, state = answer(policy), dict(policy.state())
    for place in ["[1, 2]", *state]:
        for wrong in (np.zeros(2), np.full(DIMENSION * (DIMENSION + 3) // 2 + 4, np.nan), np.zeros((3, 3))):
            with pytest.raises(ValueError, match=r"finite|no state|neither"):
                policy.restore({**state, place: wrong})
    policy.refresh()
    np.testing.assert_allclose(answer(policy), before, atol=1e-12)


@every_name
def test_a_quality_that_is_not_a_number_is_refused(name: str) -> None:
    if name in STATELESS:
        return
    with pytest.raises(ValueError, match="finite"):
        make_policy(name, BLOCKS).learn("ant", X, float("nan"))


@every_name
def test_permuting_the_menu_permutes_the_answer(name: str) -> None:
    policy, order = taught(name, stream(5, 60)), np.array([2, 0, 3, 1])
    permuted = Menu([ARMS[i] for i in order], MENU.penalty[order])
    np.testing.assert_allclose(
        policy.distribution(X, permuted).probability, policy.distribution(X, MENU).probability[order], atol=1e-9
    )


@every_name
def test_huge_tiny_and_retracted_values_never_leave_what_is_not_a_number(name: str) -> None:
    rng = np.random.default_rng(0)
    policy = make_policy(name, BLOCKS)
    contexts = [X, np.zeros(DIMENSION), np.full(DIMENSION, 1e9), np.full(DIMENSION, 1e-300), -X]
    for t in range(2000):
        y = float(rng.choice([0.0, 1.0, -1e300, 1e300, 0.5]))
        weight = float(rng.choice([1.0, 1.0, 1e-9, 1e9, -1.0]))
        policy.learn(ARMS[rng.integers(4)], contexts[rng.integers(5)], y, weight=weight, time_s=float(t % 97))
        if t % 400 == 0:
            policy.refresh()
            assert np.isfinite(answer(policy)).all()
    policy.refresh()
    assert answer(policy)[0].sum() == pytest.approx(1)
