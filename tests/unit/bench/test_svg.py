"""The picture: valid XML, round ticks, and labels that can be read."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.bench.frontier import frontier
from conduit.bench.plot import draw, look
from conduit.bench.standings import standings
from conduit.bench.svg import GLYPH, Box, Panel, decades, labels, steps
from conduit.bench.tables import Recorded, Row
from conduit.bench.tournament import Arena, entries, play
from tests.unit.bench.made_up import made_up_rows

PANEL = Panel(0, 0, 600, 400, x=(0.01, 10), y=(0, 1), log=True)
SVG = "{http://www.w3.org/2000/svg}"


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4))
def test_ticks_are_few_and_inside(low: float, span: float) -> None:
    ticks = steps(low, low + span)
    assert 2 <= len(ticks) <= 9
    assert all(low - 1e-9 <= tick <= low + span + 1e-9 for tick in ticks)


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e7))
def test_logarithmic_ticks_are_few_and_inside(low: float, ratio: float) -> None:
    ticks = decades(low, low * ratio)
    assert 1 <= len(ticks) <= 9
    assert all(low <= tick <= low * ratio for tick in ticks)


def test_a_panel_puts_its_corners_into_its_corners() -> None:
    assert PANEL.at(0.01, 0) == pytest.approx((0, 400))
    assert PANEL.at(10, 1) == pytest.approx((600, 0))
    assert PANEL.at(10**-0.5, 0.5) == pytest.approx((300, 200))


def test_labels_of_crowded_models_do_not_overlap() -> None:
    """Thirteen models, five of them at one price."""
    places = [(200.0, 100.0 + 9 * i) for i in range(5)] + [(60.0 * i, 380.0 - 25 * i) for i in range(1, 9)]
    boxes = [box(part) for part in labels(PANEL, [("model-number", p) for p in places], full=[]) if "<text" in part]
    assert len(boxes) == 13
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlap(b) > 0]


def box(part: str) -> Box:
    found = list(ET.fromstring(part))[-1]  # the letters; below them their halo
    x, y, size = (float(found.attrib[name]) for name in ("x", "y", "font-size"))
    return Box(x, y - size * 0.8, x + GLYPH * size * len(found.text or ""), y + size * 0.2)


def test_looks_of_thirty_policies_differ() -> None:
    assert len({(colour, shape % 5, dash) for colour, shape, dash in map(look, range(30))}) == 30


def test_a_picture_names_its_models_and_policies_and_stays_xml() -> None:
    """Also when a model's name is not: names come from a file."""
    rows = [Row(r.id, r.prompt, {f"<{m}&'\">": o for m, o in r.outcomes.items()}) for r in made_up_rows(40)]
    arena = Arena("a & b", rows, frontier(rows))
    runs = [play(arena, entry) for entry in entries(["uniform", "always_best"], arena.frontier.budgets(2), 2)]
    root = ET.fromstring(draw(arena, runs, standings(runs)))
    words = " ".join(t.text or "" for t in root.iter(f"{SVG}text"))
    assert all(name in words for name in ("uniform", "always_best", "<small&'\">", "<large&'\">", "a & b: 40 prompts"))


def test_a_table_without_any_difference_can_be_drawn() -> None:
    rows = [Row(str(i), "hello", {"only": Recorded(1.0, 0.001)}) for i in range(3)]
    arena = Arena("flat", rows, frontier(rows))
    runs = [play(arena, entry) for entry in entries(["uniform"], arena.frontier.budgets(2), 1)]
    drawn = draw(arena, runs, standings(runs))
    ET.fromstring(drawn)
    assert not re.search(r"\bnan\b|\binf\b", drawn)
