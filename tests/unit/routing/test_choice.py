"""The drawn probability, computed from the equations of docs/policy.md and from nothing of the code that draws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from conduit import Model, Preferences, Price, Query, Router
from conduit.bandits.shrinkage import Spread
from conduit.routing.decision import Decision
from conduit.routing.query import Incumbent

Vector = NDArray[np.float64]
PRICES = {"small": (0.1, 0.4), "middle": (1.0, 4.0), "large": (10.0, 40.0), "late": (2.0, 8.0)}
QUALITY = {"small": 0.55, "middle": 0.7, "large": 0.85, "late": 0.75}
TYPICAL_TOKENS, SEEN_ENOUGH = (500, 500), 50.0
PROMPTS = ["Write a python function that adds.", "What is the capital of Peru?", "Hello, my friend, how are you?"]


@dataclass
class Seen:
    """What was observed of quality: (model, x, y), and how many answers of each."""

    quality: list[tuple[str, Vector, float]] = field(default_factory=list)

    def count(self, name: str) -> float:
        return float(sum(model == name for model, _, _ in self.quality))


def taught(names: Sequence[str], each: int, *, seed: int, rare: Mapping[str, int] | None = None) -> tuple[Router, Seen]:
    """A router, and what it was taught."""
    models = [Model(name, "p", price=Price(*PRICES[name])) for name in names]
    router, seen, draw = Router(models, seed=seed, half_life_s=0.0), Seen(), np.random.default_rng(seed)
    for i in range(each):
        for name in names:
            if i >= (rare or {}).get(name, each):
                continue
            x = router.features.context(f"{PROMPTS[i % 3]} {i}")
            y = float(np.clip(QUALITY[name] + 0.1 * draw.standard_normal(), 0, 1))
            decision = router.assign(Query(f"{PROMPTS[i % 3]} {i}"), name)
            router.fold(decision.observation(quality=y))
            seen.quality.append((name, x, y))
    router.beliefs.refresh()
    return router, seen


# ------------------------------------------------------------------ the page


def decades(names: Sequence[str]) -> dict[str, float]:
    """p_a."""
    costs = {name: math.log10(typical_usd(name)) for name in names}
    mean = sum(costs.values()) / len(costs)
    return {name: cost - mean for name, cost in costs.items()}


def typical_usd(name: str) -> float:
    return sum(price * tokens for price, tokens in zip(PRICES[name], TYPICAL_TOKENS, strict=True)) / 1e6


def posterior(names: Sequence[str], seen: Seen, spread: Spread, x: Vector) -> tuple[Vector, Vector]:
    """q (k,) and V (k, k) by one dense system over mu_1, mu_2 and every delta, with the variances as given."""
    k, d, p = len(names), len(x), decades(names)
    m = np.zeros((2 + k) * d)
    m[d - 1], m[2 * d - 1] = 0.5, 0.08
    precision = np.diag(1.0 / np.concatenate([spread.T_mu[0], spread.T_mu[1], *[spread.T] * k]))
    right = precision @ m

    def laid_out(name: str, vector: Vector) -> Vector:
        row = np.zeros(((2 + k), d))
        row[0], row[1], row[2 + names.index(name)] = vector, p[name] * vector, vector
        return row.ravel()

    for name, z, y in seen.quality:
        row = laid_out(name, z)
        precision += np.outer(row, row) / spread.s2
        right += row * y / spread.s2
    covariance = np.linalg.inv(precision)
    v = np.full(d, 0.15)
    v[-1] = 0.5
    level = np.array([laid_out(name, x) for name in names])
    width = np.array([laid_out(name, v * x) for name in names])
    return level @ (covariance @ right), width @ covariance @ width.T


def own(V: Vector) -> Vector:
    """o (k,) by least squares over pairs."""
    k = len(V)
    pairs = [(a, b) for a in range(k) for b in range(a)]
    design = np.array([[float(i in pair) for i in range(k)] for pair in pairs])
    D = np.array([V[a, a] + V[b, b] - 2 * V[a, b] for a, b in pairs])
    return np.maximum(np.linalg.lstsq(design, D, rcond=None)[0], 0.01 * D.mean() / 2)


def best(u: Vector, s: Vector) -> Vector:
    """pi (k,) on a grid so fine that its error does not count."""
    t = np.linspace((u - 8 * s).min(), (u + 8 * s).max(), 400_001)
    Phi = [
        np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))((t[::40] - a) / b) for a, b in zip(u, s, strict=True)
    ]
    fine = [np.interp(t, t[::40], row) for row in Phi]
    density = [np.exp(-0.5 * ((t - a) / b) ** 2) / (b * math.sqrt(2 * math.pi)) for a, b in zip(u, s, strict=True)]
    step = t[1] - t[0]
    others = [np.prod([fine[j] for j in range(len(u)) if j != i], axis=0) for i in range(len(u))]
    return np.array([(n * other).sum() * step for n, other in zip(density, others, strict=True)])


def page(
    decision: Decision,
    router: Router,
    seen: Seen,
    query: Query,
    newcomers: Sequence[str] = (),
    lam: float | None = None,
) -> dict[str, float]:
    """Model -> probability. What is forecast is taken from the decision: dollars and seconds are not believed here."""
    names = [model.name for model in router.catalogue]
    told = {candidate.model: candidate for candidate in decision.candidates}
    q, V = posterior(names, seen, router.beliefs.policy._quality.spread, decision.context)  # type: ignore[attr-defined]
    w, k = query.preferences, len(names)
    c_ref = max(map(typical_usd, names))
    c, wait = (np.array([getattr(told[name], what) or 0.0 for name in names]) for what in ("cost_usd", "latency_s"))
    h = 0.0 if query.incumbent is None else query.incumbent.stickiness
    away = np.array([query.incumbent is not None and name != query.incumbent.model for name in names])
    u = w.quality * q - c * (w.cost / c_ref + (lam or 0.0)) - w.latency * wait / 10.0 - w.quality * h * away
    g = {name: seen.count(name) for name in names}
    new = np.array([max(4 - 3 * g[name] / SEEN_ENOUGH, 1.0) if name in newcomers else 1.0 for name in names])
    share = np.array([len(seen.quality) / (k * max(g[name], 0.5)) for name in names])
    neglect = np.sqrt(1 + np.log(np.maximum(share, 1.0))) if lam is None else np.ones(k)
    pi = 0.998 * best(u, w.quality * new * neglect * np.sqrt(own(V))) + 0.002 / k
    cap = np.array([0.1 + 0.9 * min(g[name] / SEEN_ENOUGH, 1.0) if name in newcomers else 1.0 for name in names])
    held, rest = np.minimum(pi, cap), np.where(cap < 1.0, 0.0, pi)
    pi = held + (1 - held.sum()) * rest / rest.sum()
    assert [told[name].utility for name in names] == pytest.approx(u.tolist(), abs=2e-4)
    return dict(zip(names, pi.tolist(), strict=True))


# ------------------------------------------------------------------ against the code

THREE = ["small", "middle", "large"]
QUERIES = {
    "as usual": Query("Write a python function that adds two numbers."),
    "quality": Query("What is the capital of Chile?", preferences=Preferences.preset("quality")),
    "cost": Query("Hello there, how are you?", preferences=Preferences.preset("cost")),
    "a session": Query("And now?", incumbent=Incumbent("middle", 0, 0.05)),
    "weights of one's own": Query("Prove it.", preferences=Preferences(0.7, 0.3, 0.2)),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_probability_is_that_of_the_page(query: Query, seed: int) -> None:
    """Within the quadrature's .002 and single precision."""
    router, seen = taught(THREE, 12, seed=seed)
    decision = router.choose(query)
    drawn = {candidate.model: candidate.probability for candidate in decision.candidates}
    assert drawn == pytest.approx(page(decision, router, seen, query), abs=0.004)
    assert decision.propensity == drawn[decision.model]


def test_a_neglected_model_is_doubted_as_the_page_says() -> None:
    router, seen = taught(THREE, 40, seed=3, rare={"middle": 2})
    query = QUERIES["as usual"]
    decision = router.choose(query)
    drawn = {candidate.model: candidate.probability for candidate in decision.candidates}
    assert drawn == pytest.approx(page(decision, router, seen, query), abs=0.004)


def test_a_newcomer_is_doubted_and_capped_as_the_page_says() -> None:
    """Of whom nothing was seen when another had fifty answers."""
    router, seen = taught([*THREE, "late"], 52, seed=4, rare={"late": 0})
    for wanted in ("quality", "as usual"):
        decision = router.choose(QUERIES[wanted])
        drawn = {candidate.model: candidate.probability for candidate in decision.candidates}
        assert drawn == pytest.approx(page(decision, router, seen, QUERIES[wanted], ["late"]), abs=0.004)
        assert drawn["late"] <= 0.1 + 1e-9


def test_a_dollar_under_a_budget_weighs_as_the_page_says() -> None:
    router, seen = taught(THREE, 12, seed=5)
    query = QUERIES["quality"]
    pacer = FixedPrice(30.0)
    decision = router.choose(query, pacer=pacer)
    assert decision.shadow_price == 30.0
    drawn = {candidate.model: candidate.probability for candidate in decision.candidates}
    assert drawn == pytest.approx(page(decision, router, seen, query, lam=30.0), abs=0.004)


class FixedPrice:
    """A pacer whose price is known."""

    begun, dearest_usd, room_usd = True, math.inf, math.inf

    def __init__(self, price: float) -> None:
        self.price = price

    def stint(self, cost_usd: float) -> None:
        """It has no plan."""

    def observe(self, quality: Vector, cost_usd: Vector, width: Vector | float = 0.0) -> None:
        """It looks at nothing."""
