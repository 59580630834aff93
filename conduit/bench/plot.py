"""A table's tournament as a picture: what the policies got for their money, and their regret over time."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.frontier import Curve, Frontier, Point
from conduit.bench.standings import Standing
from conduit.bench.tournament import MOMENTS, Arena, Run
from conduit.routing.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

FORMATS = ("svg", "png", "pdf")
PER_1000 = 1000.0
"""Dollars are shown per so many requests, to have fewer zeros."""
BANDS = 6
"""With more policies their bands would hide each other."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's, which differ for everybody; black is the hull's, and yellow does not show on white."""
MARKS, DASHES = "osD^v", ("-", "--", ":")
INK, GREY = "#222222", "#666666"

Look = tuple[str, str, str]
"""Colour, mark, line style."""
Played = Mapping[str, Sequence[Run]]
"""Runs by policy."""


def picture_format(asked: str | None) -> str | None:
    """One of FORMATS; None where no picture is drawn: on "none", or where nothing was asked for and matplotlib is not
    there. Raises ConfigurationError, before a long run rather than after it."""
    drawable = find_spec("matplotlib") is not None
    if asked == "none" or (asked is None and not drawable):
        return None
    if asked is not None and asked not in FORMATS:
        raise ConfigurationError(f"--format: {asked!r} is none of {', '.join(FORMATS)}, none")
    if not drawable:
        raise ConfigurationError(f"--format: {asked} needs matplotlib: pip install 'conduit-router[bench]'")
    return asked or FORMATS[0]


def draw(arena: Arena, runs: Sequence[Run], stood: Sequence[Standing], form: str) -> bytes:
    """The picture in one of FORMATS."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    played = {s.policy: [r for r in runs if r.policy == s.policy] for s in stood}
    looks = {policy: look(i) for i, policy in enumerate(played)}
    figure = Figure(figsize=(13, 6.8), layout="constrained")
    costs, regrets = figure.subplots(1, 2, width_ratios=(3, 2))
    _costs(costs, arena.frontier, played, looks)
    _regrets(regrets, played, looks)
    heading = f"{arena.name}: {len(arena.rows)} prompts, {len(arena.frontier.singles)} models"
    figure.suptitle(f"{plain(heading)}\n{_note(runs)}", x=0.01, ha="left", fontsize=11)
    handles, labels = costs.get_legend_handles_labels()
    captured = {s.policy: f"{s.policy} (capture {s.capture:+.3f})" for s in stood}
    figure.legend(handles, [captured.get(each, each) for each in labels], loc="outside lower left", ncols=4, fontsize=9)
    figure.draw_without_rendering()  # lays out: before it, nothing has a place
    _label(costs, arena.frontier)
    with rc_context(
        {"svg.hashsalt": "conduit", "svg.fonttype": "none"}
    ):  # the same runs give the same bytes; text is text
        return _written(figure, form)


def _written(figure: "Figure", form: str) -> bytes:
    out = BytesIO()
    moment = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    figure.savefig(out, format=form, dpi=110, metadata=moment)
    return out.getvalue()


def look(place: int) -> Look:
    """Of the policy at this place: colours come round after six, marks after five, line styles help the later ones."""
    return COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)], DASHES[place // len(COLOURS) % len(DASHES)]


def _note(runs: Sequence[Run]) -> str:
    seeds, budgets = len({r.seed for r in runs}), len({r.budget_usd for r in runs})
    note = f"Left, a point for each budget ({budgets}); right, the mean over them. Both: means over seeds ({seeds})."
    banded = seeds > 1 and len({r.policy for r in runs}) <= BANDS
    return f"{note} Bands: one standard error over seeds." if banded else note


# ------------------------------------------------------------------ left: quality against cost


def _costs(axes: "Axes", frontier: Frontier, played: Played, looks: Mapping[str, Look]) -> None:
    from matplotlib.ticker import LogLocator

    axes.set(xscale="log", xlabel="US dollars per 1000 requests", ylabel="quality", title="Quality against cost")
    for policy, runs in played.items():
        colour, shape, dash = looks[policy]
        axes.plot(*np.transpose(means(runs)), color=colour, marker=shape, linestyle=dash, lw=1, ms=5, label=policy)
    axes.plot(*_curve(frontier.hull), color=INK, lw=1.4, label="hull: best fixed mixture")
    limits = axes.get_xlim()
    axes.plot(*_curve(frontier.oracle), color=GREY, lw=1.4, ls="--", label="oracle: best choice per prompt")
    singles = [(cost * PER_1000, quality) for cost, quality in frontier.singles.values()]
    axes.plot(*np.transpose(singles), "o", mfc="white", mec=INK, ms=5, label="single model")
    axes.set_xlim(limits[0] / 1.1, limits[1] * 1.1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter("")
    axes.grid(color="#e6e6e6")


def _curve(curve: Curve) -> Vector:
    """(2, points): straight lines bend on a logarithmic axis."""
    known_usd, known = np.transpose(curve)
    costs = np.geomspace(max(known_usd[0], known_usd[-1] / 1e6, 1e-12), max(known_usd[-1], 1e-12), 150)
    return np.array([costs * PER_1000, np.interp(costs, known_usd, known)])


def means(runs: Iterable[Run]) -> list[Point]:
    """Cost of 1000 requests and quality at each budget, mean over seeds."""
    by_budget: dict[float, list[Point]] = {}
    for run in runs:
        by_budget.setdefault(run.budget_usd, []).append((run.whole.cost_usd * PER_1000, run.whole.quality))
    found = [np.mean(by_budget[budget], axis=0) for budget in sorted(by_budget)]
    return [(float(cost), float(quality)) for cost, quality in found]


def _label(axes: "Axes", frontier: Frontier) -> None:
    """Each name beside its point, at the first place where it stays inside and covers no other."""
    places = [(dx, dy) for dy, dx in product((0, 9, -9, 18, -18, 27, -27, 36, -36), (6, -6))]
    told: list[Annotation] = []
    white = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}
    small: dict[str, Any] = {"fontsize": 7, "color": GREY, "va": "center", "bbox": white}
    for name, (cost_usd, quality) in frontier.singles.items():
        text = axes.annotate(
            plain(short(name)), (cost_usd * PER_1000, quality), (0, 0), textcoords="offset points", **small
        )
        for offset in places:
            text.set(position=offset, horizontalalignment="left" if offset[0] > 0 else "right")
            box = text.get_window_extent()
            if axes.bbox.x1 > box.x1 and not any(box.overlaps(each.get_window_extent()) for each in told):
                break
        told.append(text)


# ------------------------------------------------------------------ right: regret over time


def _regrets(axes: "Axes", played: Played, looks: Mapping[str, Look]) -> None:
    axes.set(xlabel="prompts", ylabel="in quality (below 0: better than the hull)")
    axes.set_title("Cumulative regret to the hull")
    times = np.linspace(0, max(runs[0].n for runs in played.values()), MOMENTS + 1)
    axes.axhline(0, color=INK, lw=1.4)
    for policy, runs in played.items():
        colour, shape, dash = looks[policy]
        curve = _by_seed(runs)
        axes.plot(
            times, curve.mean(axis=0), color=colour, marker=shape, linestyle=dash, ms=4, markevery=MOMENTS // 5, lw=1.6
        )
        if len(played) <= BANDS:
            axes.fill_between(times, *_band(curve), color=colour, alpha=0.15, lw=0)
    axes.grid(color="#e6e6e6")


def _by_seed(runs: Sequence[Run]) -> Vector:
    """(seeds, moments) mean over the budgets."""
    seeds = sorted({r.seed for r in runs})
    return np.array([np.mean([r.regret for r in runs if r.seed == seed], axis=0) for seed in seeds])


def _band(curve: Vector) -> tuple[Vector, Vector]:
    """One standard error over seeds to either side."""
    error = curve.std(axis=0, ddof=1) / len(curve) ** 0.5 if len(curve) > 1 else np.zeros(curve.shape[1])
    return curve.mean(axis=0) - error, curve.mean(axis=0) + error


# ------------------------------------------------------------------ words


def short(name: str, most: int = 34) -> str:
    """Without the maker's name."""
    name = name.rsplit("/", 1)[-1]
    return name if len(name) <= most else name[: most - 1] + "…"


def plain(words: str) -> str:
    """A dollar would begin a formula."""
    return words.replace("$", r"\$")
