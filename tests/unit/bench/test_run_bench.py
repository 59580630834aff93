"""The table that `conduit bench` prints."""

from io import StringIO

import pytest
from rich.console import Console

from conduit.bench.standings import Difference, Standing
from conduit.cli.bench import Name, standings_table
from conduit.routing.policies import POLICIES

BEHIND = Difference(-0.123, -0.456, -0.012, 0.9, 10)
NAMES = (*POLICIES, "fixed:meta_llama_3_1_70b_instruct")
STOOD = [Standing(name, -0.123, 0.012, -0.456, 11.234, 14.567, BEHIND) for name in NAMES]


def printed(width: int) -> list[str]:
    """Its rows, without the two lines of headings."""
    out = StringIO()
    Console(file=out, width=width).print(standings_table(STOOD))
    return [line.rstrip() for line in out.getvalue().splitlines()[2:]]


def test_names_are_whole_in_80_columns_and_so_is_every_number() -> None:
    lines = printed(80)
    assert max(map(len, lines)) <= 80
    names: list[str] = []
    for line in lines:
        if line.startswith(" "):
            names[-1] += line.strip()
        else:
            names.append(line.split()[0])
            assert line.endswith("  -.123 ±.012  -.456  11.234  14.567  -.123 (-.456, -.012)")
    assert names == list(NAMES)


def test_where_there_is_room_a_name_is_one_line() -> None:
    assert [line.split()[0] for line in printed(120)] == list(NAMES)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (28, ["contextual_thompson_sampling"]),
        (20, ["contextual_thompson_", " sampling"]),
        (18, ["contextual_", " thompson_sampling"]),
        (0, ["contextual_", " thompson_", " sampling"]),
    ],
)
def test_a_name_is_broken_at_underscores(width: int, lines: list[str]) -> None:
    assert Name("contextual_thompson_sampling").lines(width) == lines
