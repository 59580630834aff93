"""The picture: one of three formats, every name in it, and the same bytes for the same runs."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest

from conduit.bench.frontier import frontier
from conduit.bench.plot import FORMATS, draw, look, picture_format
from conduit.bench.standings import Standing, standings
from conduit.bench.tables import Recorded, Row
from conduit.bench.tournament import Arena, Run, entries, play
from conduit.routing.errors import ConfigurationError
from tests.unit.bench.made_up import made_up_rows

SVG = "{http://www.w3.org/2000/svg}"
BEGINNINGS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF-"}


def played(
    rows: Sequence[Row], policies: Sequence[str], name: str = "a & b"
) -> tuple[Arena, list[Run], list[Standing]]:
    arena = Arena(name, rows, frontier(rows))
    runs = [play(arena, entry) for entry in entries(policies, arena.frontier.budgets(2), 2)]
    return arena, runs, list(standings(runs))


def test_looks_of_thirty_policies_differ() -> None:
    assert len(set(map(look, range(30)))) == 30


def test_a_picture_names_its_models_and_policies_and_stays_xml() -> None:
    """Also when a model's name is not, or would begin a formula: names come from a file."""
    rows = [Row(r.id, r.prompt, {f"<{m}$_&'\">": o for m, o in r.outcomes.items()}) for r in made_up_rows(40)]
    root = ET.fromstring(draw(*played(rows, ["uniform", "always_best"]), "svg"))
    words = " ".join(t.text or "" for t in root.iter(f"{SVG}text"))
    assert all(
        name in words for name in ("uniform", "always_best", "<small$_&'\">", "<large$_&'\">", "a & b: 40 prompts")
    )


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_what_it_says_and_the_same_again(form: str) -> None:
    shown = played(made_up_rows(20), ["uniform"])
    first = draw(*shown, form)
    assert first.startswith(BEGINNINGS[form])
    assert draw(*shown, form) == first


def test_a_table_without_any_difference_can_be_drawn() -> None:
    rows = [Row(str(i), "hello", {"only": Recorded(1.0, 0.001)}) for i in range(3)]
    drawn = draw(*played(rows, ["uniform"], "flat"), "svg").decode()
    ET.fromstring(drawn)
    assert not re.search(r"\bnan\b|\binf\b", drawn)


def test_labels_of_crowded_models_do_not_overlap() -> None:
    """Eight models that cost and answer almost the same."""
    outcomes = {f"model-{i}": Recorded(0.5 + 0.002 * i, 0.001 * (1 + 0.01 * i)) for i in range(8)}
    outcomes["far-away"] = Recorded(0.9, 0.01)
    rows = [Row(str(i), "hello", outcomes) for i in range(3)]
    root = ET.fromstring(draw(*played(rows, ["uniform"]), "svg"))
    places = [place(t) for t in root.iter(f"{SVG}text") if re.fullmatch(r"model-\d", t.text or "")]
    assert len(places) == 8
    apart = [(abs(x - u) > 25 or abs(y - v) > 6) for i, (x, y) in enumerate(places) for u, v in places[:i]]
    assert all(apart)


def place(label: ET.Element) -> tuple[float, float]:
    """In points, from the upper left; labels that end at their point stand further to the left by their length."""
    shift = 30.0 if "text-anchor: end" in label.attrib["style"] else 0.0
    return float(label.attrib["x"]) - shift, float(label.attrib["y"])


def test_a_format_is_checked_before_anything_is_played() -> None:
    assert picture_format(None) == "svg"
    assert picture_format("none") is None
    with pytest.raises(ConfigurationError, match="--format: 'gif' is none of svg, png, pdf, none"):
        picture_format("gif")
