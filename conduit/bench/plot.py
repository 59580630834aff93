"""A table's tournament as a picture: what the policies got for their money, and their regret over time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from textwrap import wrap

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.frontier import Curve, Frontier, height
from conduit.bench.standings import Standing
from conduit.bench.svg import FONT, GLYPH, GREY, INK, Box, Panel, Place, along, area, around, labels, line, mark, text
from conduit.bench.tournament import MOMENTS, Arena, Run

WIDTH, TOP, TALL = 1180, 100, 400
LEGEND_ROW = 20
MARKED = MOMENTS // 5
"""Stretches between two marks on a line of regret."""
BANDS = 6
"""With more policies their bands would hide each other."""
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
    panel = _cost_panel(arena.frontier, played)
    legend, end = _legend(stood, looks, _below(panel, arena.frontier))
    high = end + 8
    heading = f"{arena.name}: {len(arena.rows)} prompts, {len(arena.frontier.singles)} models"
    note = _note(runs)
    parts = [text((24, 34), heading, size=17), text((24, 54), note, colour=GREY)]
    parts += [*_costs(panel, arena.frontier, played, looks), *_regrets(played, looks), *legend]
    size = f"viewBox='0 0 {WIDTH} {high}' width='{WIDTH}' height='{high}'"
    start = f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT}>"
    white = f"<rect width='{WIDTH}' height='{high}' fill='white'/>"
    return "\n".join([start, white, *parts, "</svg>\n"])


def look(place: int) -> Look:
    """Of the policy at this place: colours come round after six, shapes after five, dashes help the later ones."""
    return COLOURS[place % len(COLOURS)], place, ("", "7 3", "2 3")[place // len(COLOURS) % 3]


def _note(runs: Sequence[Run]) -> str:
    seeds, budgets = len({r.seed for r in runs}), len({r.budget_usd for r in runs})
    note = f"Left, a point for each budget ({budgets}); right, the mean over them. Both: means over seeds ({seeds})."
    banded = seeds > 1 and len({r.policy for r in runs}) <= BANDS
    return f"{note} Bands: one standard error over seeds." if banded else note


# ------------------------------------------------------------------ left: quality against cost


def _costs(panel: Panel, frontier: Frontier, played: Played, looks: Mapping[str, Look]) -> Iterator[str]:
    yield from panel.axes("Quality against cost", x="US dollars per 1000 requests", y="quality")
    full: list[Box] = []
    for curve, colour, dash in ((frontier.oracle, GREY, "5 4"), (frontier.hull, INK, "")):
        places = panel.through(_sampled(panel, curve))
        full += along(places)
        yield line(places, colour=colour, dash=dash, width=1.4)
    for policy, runs in played.items():
        colour, shape, dash = looks[policy]
        places = panel.through(means(runs))
        full += [*along(places), *(around(place, 5) for place in places)]
        yield line(places, colour=colour, width=1, dash=dash)
        yield from (mark(place, shape=shape, colour=colour) for place in places)
    yield from _singles(panel, frontier, full)


def _singles(panel: Panel, frontier: Frontier, full: Sequence[Box]) -> Iterator[str]:
    shown = {name: point for name, point in frontier.singles.items() if point[1] >= panel.y[0]}
    named = [(short(name), panel.at(cost * PER_1000, quality)) for name, (cost, quality) in shown.items()]
    yield from (mark(place, shape=0, colour="white", edge=INK, size=4.5) for _, place in named)
    yield from labels(panel, named, full=full)


def _below(panel: Panel, frontier: Frontier) -> list[str]:
    """Lines of words on the single models that are too bad to be shown without squeezing the others."""
    missing = [(name, *point) for name, point in frontier.singles.items() if point[1] < panel.y[0]]
    if not missing:
        return []
    words = [f"{short(name)} {quality:.2f} at {cost * PER_1000:.2g}" for name, cost, quality in missing]
    return wrap(
        f"Single models below the scale: {', '.join(words)}.", int((WIDTH - 100) / (GLYPH * 11)), break_on_hyphens=False
    )


def _cost_panel(frontier: Frontier, played: Played) -> Panel:
    got = [point for runs in played.values() for point in means(runs)]
    costs = [cost for cost, _ in got] + [cost * PER_1000 for cost, _ in frontier.singles.values()]
    x = (min(costs) / 1.25, max(costs) * 1.4)
    hull, top = [quality for _, quality in frontier.hull], height(frontier.oracle, x[1] / PER_1000)
    low, high = min([*hull, *(quality for _, quality in got)]), max([*hull, top])
    floor = low - 0.4 * (high - low)
    shown = [quality for _, quality in frontier.singles.values() if quality >= floor]
    return Panel(76, TOP, 600, TALL, x=x, y=_roomy([min(low, *shown), high]), log=True)


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
    for policy, curve in curves.items() if len(curves) <= BANDS else ():
        low, high = _band(curve)
        edge = [*zip(times, low, strict=True), *zip(times[::-1], high[::-1], strict=True)]
        yield area(panel.through(edge), colour=looks[policy][0])
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


def _legend(stood: Sequence[Standing], looks: Mapping[str, Look], notes: Sequence[str]) -> tuple[list[str], float]:
    """In columns below both panels, the notes below it; where it ends."""
    words = ["single model", "hull: best fixed mixture", "oracle: best choice per prompt"]
    words += [f"{s.policy} (capture {s.capture:+.3f})" for s in stood]
    across = max(map(len, words)) * GLYPH * 11 + 60
    columns = max(1, int((WIDTH - 76) // across))
    top = TOP + TALL + 64
    parts: list[str] = []
    for i, name in enumerate(words):
        place = (76 + i % columns * across, top + i // columns * LEGEND_ROW)
        parts += [*_sample(i, place, [*looks.values()]), text((place[0] + 40, place[1] + 4), name)]
    end = top + ceil(len(words) / columns) * LEGEND_ROW
    parts += [text((76, end + 4 + i * LEGEND_ROW), note, colour=GREY) for i, note in enumerate(notes)]
    return parts, end + len(notes) * LEGEND_ROW


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
