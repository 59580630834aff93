"""What a mean cost can buy, against brute force, and against the judge that scores from outside."""

import importlib.util
import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conduit.bench.frontier import Frontier, Point, frontier, height, slope, upper_hull
from conduit.bench.replay import replay, shuffled
from conduit.bench.tables import Recorded, Row
from conduit.bench.tournament import Arena, Entry, play
from conduit.routing.errors import ConfigurationError
from tests.unit.bench.made_up import made_up_rows, write_table

JUDGE = Path(__file__).resolve().parents[4] / "shared/bench/score.py"
TOLERANCE = 1e-9

qualities = st.integers(0, 20).map(lambda i: i / 20)
costs = st.integers(1, 400).map(lambda i: i / 1000)
points = st.tuples(costs, qualities)
prices = st.floats(0, 1e4)
shares = st.floats(0, 1)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    names = [f"m{i}" for i in range(draw(st.integers(1, 4)))]
    rows = draw(st.lists(st.tuples(*[points for _ in names]), min_size=1, max_size=8))
    return [
        Row(str(i), "", {m: Recorded(quality=q, cost_usd=c) for m, (c, q) in zip(names, row, strict=True)})
        for i, row in enumerate(rows)
    ]


def best_mixture(singles: list[Point], cost: float) -> float:
    """By trying every pair of models, mixed so as to cost no more than this."""
    affordable = [q for c, q in singles if c <= cost]
    mixed = [q0 + (q1 - q0) * (cost - c0) / (c1 - c0) for c0, q0 in singles for c1, q1 in singles if c0 < cost < c1]
    return max(affordable + mixed)


def clairvoyant(rows: list[Row], price: float) -> Point:
    """Mean cost and quality of the best choice per prompt at a price of a dollar; the cheaper of equals."""
    chosen = [min(row.outcomes.values(), key=lambda o: (price * o.cost_usd - o.quality, o.cost_usd)) for row in rows]
    return sum(o.cost_usd for o in chosen) / len(rows), sum(o.quality for o in chosen) / len(rows)


# ------------------------------------------------------------------ the hull


@given(st.lists(points, min_size=1, max_size=8))
def test_the_hull_rises_ever_less_steeply_and_stands_on_singles(singles: list[Point]) -> None:
    hull = upper_hull(singles)
    slopes = [slope(p, q) for p, q in pairwise(hull)]
    assert all(s > 0 for s in slopes)
    assert slopes == sorted(slopes, reverse=True)
    assert set(hull) <= set(singles)


@given(st.lists(points, min_size=1, max_size=8))
def test_no_single_model_is_above_the_hull(singles: list[Point]) -> None:
    hull = upper_hull(singles)
    assert all(height(hull, cost) >= quality - TOLERANCE for cost, quality in singles)


@given(st.lists(points, min_size=1, max_size=8), shares)
def test_the_hull_is_the_best_that_two_models_can_be_mixed_to(singles: list[Point], share: float) -> None:
    cost = min(c for c, _ in singles) + share / 2
    assert height(upper_hull(singles), cost) == pytest.approx(best_mixture(singles, cost), abs=TOLERANCE)


def within(known: Frontier, share: float) -> float:
    """A cost somewhere on the hull."""
    return known.hull[0][0] + share * (known.hull[-1][0] - known.hull[0][0])


@given(tables(), shares)
def test_a_mixture_costs_what_it_may_and_is_worth_the_hull(rows: list[Row], share: float) -> None:
    known = frontier(rows)
    cost = within(known, share)
    got = mixed(known, cost)
    assert got == pytest.approx((cost, height(known.hull, cost)), abs=TOLERANCE)


def mixed(known: Frontier, cost: float) -> Point:
    mixture = known.mixture(cost)
    assert sum(mixture.values()) == pytest.approx(1.0)
    return (
        sum(part * known.singles[m][0] for m, part in mixture.items()),
        sum(part * known.singles[m][1] for m, part in mixture.items()),
    )


@given(tables(), shares, shares)
def test_a_dollar_is_worth_what_the_hull_gives_for_it(rows: list[Row], here: float, there: float) -> None:
    """A tangent of a concave curve lies nowhere below it."""
    known = frontier(rows)
    cost, other = within(known, max(here, 0.01)), within(known, there)
    tangent = height(known.hull, cost) + known.dollar(cost) * (other - cost)
    assert tangent >= height(known.hull, other) - 1e-6


def test_beyond_the_best_model_a_dollar_buys_nothing() -> None:
    known = frontier(made_up_rows(20))
    assert known.dollar(known.best_usd * 1.01) == 0.0


# ------------------------------------------------------------------ the oracle


@given(tables(), prices)
def test_the_oracle_is_the_best_choice_per_prompt_at_every_price(rows: list[Row], price: float) -> None:
    cost, quality = clairvoyant(rows, price)
    worth = max(q - price * c for c, q in frontier(rows).oracle)
    assert worth == pytest.approx(quality - price * cost, abs=1e-6)


@given(tables(), shares)
def test_the_oracle_is_nowhere_below_the_hull(rows: list[Row], share: float) -> None:
    known = frontier(rows)
    cost = within(known, share)
    assert height(known.oracle, cost) >= height(known.hull, cost) - TOLERANCE


# ------------------------------------------------------------------ capture


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # in most small tables there is nothing to capture
@given(tables(), shares)
def test_a_fixed_mixture_captures_nothing(rows: list[Row], share: float) -> None:
    known = frontier(rows)
    cost = within(known, share)
    got = mixed(known, cost)
    assume(height(known.oracle, cost) - height(known.hull, cost) > 1e-3)
    assert known.capture(got, budget_usd=cost) == pytest.approx(0.0, abs=1e-6)


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # in most small tables there is nothing to capture
@given(tables(), prices)
def test_the_clairvoyant_captures_everything(rows: list[Row], price: float) -> None:
    known, got = frontier(rows), clairvoyant(rows, price)
    assume(height(known.oracle, got[0]) - height(known.hull, got[0]) > 1e-3)
    assert known.capture(got, budget_usd=got[0]) == pytest.approx(1.0, abs=1e-6)


def test_unspent_money_counts() -> None:
    """The cheap model's own outcome is worth 0 where that was all the money, and less where there was more."""
    known = frontier(made_up_rows(20))
    cheap = known.singles["small"]
    captured = [known.capture(cheap, budget_usd=cheap[0] * times) for times in (1, 2, 4)]
    assert captured[0] == pytest.approx(0.0)
    assert captured == sorted(captured, reverse=True)
    assert captured[2] < captured[1] < 0


# ------------------------------------------------------------------ budgets


def test_budgets_are_a_geometric_ladder_that_ends_at_the_best_model() -> None:
    row = Row("1", "", {"a": Recorded(0.2, 1.0), "b": Recorded(0.9, 8.0), "c": Recorded(0.5, 20.0)})
    assert frontier([row]).budgets(3) == pytest.approx([2.0, 4.0, 8.0])


def test_a_model_that_costs_nothing_leaves_no_ladder() -> None:
    row = Row("1", "", {"a": Recorded(0.2, 0.0), "b": Recorded(0.9, 8.0)})
    with pytest.raises(ConfigurationError, match="costs nothing"):
        frontier([row]).budgets(6)


# ------------------------------------------------------------------ the judge from outside


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    if not JUDGE.exists():
        pytest.skip(f"the judge {JUDGE} is absent: our figures are not compared with its own")
    spec = importlib.util.spec_from_file_location("score", JUDGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_judge_draws_the_same_curves(judge: ModuleType, tmp_path: Path) -> None:
    rows = made_up_rows(60)
    table, known = judge.load(write_table(tmp_path / "t.jsonl.gz", rows)), frontier(rows)
    hull, oracle = judge.upper_hull(known.singles.values()), judge.oracle_curve(table)
    for cost in (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 1.0):
        assert height(known.hull, cost) == pytest.approx(judge.at(hull, cost))
        assert height(known.oracle, cost) == pytest.approx(judge.at(oracle, cost))


@pytest.mark.parametrize("policy", ["uniform", "thompson_sampling", "fixed:small", "fixed:large"])
@pytest.mark.parametrize("budget_usd", [2e-4, 1e-3])
def test_the_judge_gives_the_same_scores(judge: ModuleType, tmp_path: Path, policy: str, budget_usd: float) -> None:
    rows = made_up_rows(60)
    known = frontier(rows)
    steps = replay(shuffled(rows, seed=3), policy=policy, seed=3, budget_usd=budget_usd)
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text("".join(json.dumps(s.line(budget_usd=budget_usd, seed=3)) + "\n" for s in steps))
    table = judge.load(write_table(tmp_path / "t.jsonl.gz", rows))
    theirs = judge.score(table, decisions, judge.upper_hull(known.singles.values()), judge.oracle_curve(table))
    ours = play(Arena("t", rows, known), Entry(policy, budget_usd, 3))
    assert (ours.n, ours.seed, ours.budget_usd) == (theirs["n"], theirs["seed"], theirs["budget_usd"])
    assert ours.whole.quality == pytest.approx(theirs["quality"])
    assert ours.whole.cost_usd == pytest.approx(theirs["cost_usd"])
    assert ours.whole.capture == pytest.approx(theirs["capture"])
    assert ours.overshoot == pytest.approx(theirs["overshoot"])
    assert ours.second_half.quality == pytest.approx(theirs["second_half"]["quality"])
    assert ours.second_half.cost_usd == pytest.approx(theirs["second_half"]["cost_usd"])
