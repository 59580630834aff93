"""A table's tournament as a picture: what the policies got for their money, and their regret over time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.frontier import Curve, Frontier, height
from conduit.bench.standings import Standing
from conduit.bench.svg import FONT, GLYPH, GREY, INK, Panel, Place, area, labels, line, mark, text
from conduit.bench.tournament import MOMENTS, Arena, Run

WIDTH, TOP, TALL = 1180, 84, 400
LEGEND_ROW = 20
MARKED = MOMENTS // 5
"""Stretches between two marks on a line of regret."""
PER_1000 = 1000.0
"""Dollars are shown per so many requests, to have fewer zeros."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's, which differ for everybody; black is the hull's, and yellow does not show on white."""

Look = tuple[str, int, str]
"""Colour, shape of the mark, dashes."""
Played = Mapping[str, Sequence[Run]]
"""Runs by policy."""


def draw(arena: Arena, runs: Sequence[Run], stood: Sequence[Standing]) -> str:
    """The whole SVG document."""
    played = {s.policy: [r for r in runs if r.policy == s.policy] for s in stood}
    looks = {policy: look(i) for i, policy in enumerate(played)}
    legend, legend_height = _legend(stood, looks)
    high = TOP + TALL + 60 + legend_height
    seeds = len({r.seed for r in runs})
    heading = f"{arena.name}: {len(arena.rows)} prompts, {len(arena.frontier.singles)} models, seeds: {seeds}"
    parts = [text((24, 34), heading, size=17), *_costs(arena.frontier, played, looks), *_regrets(played, looks), *legend]
    start = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {high}' width='{WIDTH}' height='{high}' {FONT}>"
    white = f"<rect width='{WIDTH}' height='{high}' fill='white'/>"
    return "\n".join([start, white, *parts, "</svg>\n"])


def look(place: int) -> Look:
    """Of the policy at this place: colours come round after six, shapes after five, dashes help the later ones."""
    return COLOURS[place % len(COLOURS)], place, ("", "7 3", "2 3")[place // len(COLOURS) % 3]


# ------------------------------------------------------------------ left: quality against cost


def _costs(frontier: Frontier, played: Played, looks: Mapping[str, Look]) -> Iterator[str]:
    panel = _cost_panel(frontier, played)
    yield from panel.axes("Quality against cost", x="US dollars per 1000 requests", y="quality")
    full: list[Place] = []
    for curve, colour, dash in ((frontier.oracle, GREY, "5 4"), (frontier.hull, INK, "")):
        places = panel.through(_sampled(panel, curve))
        full += places
        yield line(places, colour=colour, dash=dash, width=1.4)
    for policy, runs in played.items():
        colour, shape, dash = looks[policy]
        places = panel.through(means(runs))
        full += places
        yield line(places, colour=colour, width=1, dash=dash)
        yield from (mark(place, shape=shape, colour=colour) for place in places)
    named = [(name, panel.at(cost * PER_1000, quality)) for name, (cost, quality) in frontier.singles.items()]
    yield from (mark(place, shape=0, colour="white", edge=INK, size=4.5) for _, place in named)
    yield from labels(panel, [(short(name), place) for name, place in named], full=full)


def _cost_panel(frontier: Frontier, played: Played) -> Panel:
    singles = [(cost * PER_1000, quality) for cost, quality in frontier.singles.values()]
    got = [point for runs in played.values() for point in means(runs)]
    costs = [cost for cost, _ in singles + got]
    x = (min(costs) / 1.25, max(costs) * 1.4)
    top = height(frontier.oracle, x[1] / PER_1000)
    y = _roomy([quality for _, quality in singles + got] + [top])
    return Panel(76, TOP, 600, TALL, x=x, y=y, log=True)


def _sampled(panel: Panel, curve: Curve) -> list[Place]:
    """Straight lines bend on a logarithmic axis, and an oracle has more corners than pixels."""
    costs = np.geomspace(max(panel.x[0], curve[0][0] * PER_1000), panel.x[1], 150)
    known_costs, known = np.transpose(curve)
    return [(float(c), float(q)) for c, q in zip(costs, np.interp(costs / PER_1000, known_costs, known), strict=True)]


def means(runs: Iterable[Run]) -> list[Place]:
    """Cost and quality at each budget, mean over seeds."""
    by_budget: dict[float, list[tuple[float, float]]] = {}
    for run in runs:
        by_budget.setdefault(run.budget_usd, []).append((run.whole.cost_usd * PER_1000, run.whole.quality))
    found = [np.mean(by_budget[budget], axis=0) for budget in sorted(by_budget)]
    return [(float(cost), float(quality)) for cost, quality in found]


# ------------------------------------------------------------------ right: regret over time


def _regrets(played: Played, looks: Mapping[str, Look]) -> Iterator[str]:
    curves = {policy: _by_seed(runs) for policy, runs in played.items()}
    n = max(runs[0].n for runs in played.values())
    times = np.linspace(0, n, MOMENTS + 1)
    seen = [float(v) for curve in curves.values() for band in _band(curve) for v in band]
    panel = Panel(772, TOP, 384, TALL, x=(0, n), y=_roomy([0.0, *seen]))
    title = "Regret to the hull, over time"
    yield from panel.axes(title, x="prompts", y="cumulative regret, in quality (below 0: better than the hull)")
    yield line(panel.through([(0, 0), (n, 0)]), colour=INK, width=1.4)
    for policy, curve in curves.items():
        low, high = _band(curve)
        around = [*zip(times, low, strict=True), *zip(times[::-1], high[::-1], strict=True)]
        yield area(panel.through(around), colour=looks[policy][0])
    for policy, curve in curves.items():
        colour, shape, dash = looks[policy]
        places = panel.through(zip(times, curve.mean(axis=0), strict=True))
        yield line(places, colour=colour, width=1.8, dash=dash)
        yield from (mark(place, shape=shape, colour=colour, size=3.5) for place in places[MARKED::MARKED])


def _by_seed(runs: Sequence[Run]) -> Vector:
    """(seeds, moments) mean over the budgets."""
    seeds = sorted({r.seed for r in runs})
    return np.array([np.mean([r.regret for r in runs if r.seed == seed], axis=0) for seed in seeds])


def _band(curve: Vector) -> tuple[Vector, Vector]:
    """One standard error over seeds to either side."""
    error = curve.std(axis=0, ddof=1) / len(curve) ** 0.5 if len(curve) > 1 else np.zeros(curve.shape[1])
    return curve.mean(axis=0) - error, curve.mean(axis=0) + error


# ------------------------------------------------------------------ around them


def _legend(stood: Sequence[Standing], looks: Mapping[str, Look]) -> tuple[list[str], float]:
    """In columns below both panels; how high it is."""
    words = ["single model", "hull: best fixed mixture", "oracle: best choice per prompt"]
    words += [f"{s.policy}  (capture {s.capture:+.3f})" for s in stood]
    across = max(map(len, words)) * GLYPH * 11 + 60
    columns = max(1, int((WIDTH - 76) // across))
    top = TOP + TALL + 64
    parts: list[str] = []
    for i, name in enumerate(words):
        place = (76 + i % columns * across, top + i // columns * LEGEND_ROW)
        parts += [*_sample(i, place, [*looks.values()]), text((place[0] + 40, place[1] + 4), name)]
    return parts, -(-len(words) // columns) * LEGEND_ROW + 8


def _sample(i: int, place: Place, looks: Sequence[Look]) -> list[str]:
    x, y = place
    stroke, middle = [(x, y), (x + 32, y)], (x + 16, y)
    if i == 0:
        return [mark(middle, shape=0, colour="white", edge=INK, size=4.5)]
    if i < 3:
        return [line(stroke, colour=INK if i == 1 else GREY, dash="" if i == 1 else "5 4", width=1.4)]
    colour, shape, dash = looks[i - 3]
    return [line(stroke, colour=colour, dash=dash), mark(middle, shape=shape, colour=colour)]


def short(name: str, most: int = 34) -> str:
    """Without the maker's name."""
    name = name.rsplit("/", 1)[-1]
    return name if len(name) <= most else name[: most - 1] + "…"


def _roomy(values: Sequence[float]) -> tuple[float, float]:
    """A range with a margin, and never empty."""
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin
