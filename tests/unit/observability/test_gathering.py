"""Numbers of several processes: of the living, of the dead, and of those between."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conduit.observability import metrics as m
from conduit.observability.gathering import Gathering
from conduit.observability.samples import Samples

ROUTE = ("/v1/route", "200", "none")
SERIES = (m.REQUESTS, ROUTE)
DIES = """
import os, sys
from pathlib import Path
from conduit.observability import metrics as m
from conduit.observability.gathering import Gathering

samples = Gathering(Path(sys.argv[1]), kept=False).join(sys.argv[2])
for _ in range(int(sys.argv[3])):
    samples.add(m.REQUESTS, ("/v1/route", "200", "none"))
    samples.observe(m.HTTP_DURATION, ("GET", "/v1/route", "200"), 0.3)
samples.add(m.IN_FLIGHT)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "numbers"


def one_dies(folder: Path, name: str, count: int) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, str(folder), name, str(count)], check=False)
    assert done.returncode == -9


def test_living_processes_are_summed(folder: Path) -> None:
    """Whoever reads."""
    gatherings = [Gathering(folder, kept=False) for _ in range(3)]
    samples = [gathering.join(f"p{i}") for i, gathering in enumerate(gatherings)]
    for i, each in enumerate(samples):
        each.add(m.REQUESTS, ROUTE, i + 1)
        each.add(m.IN_FLIGHT)
        each.put(m.CAUGHT_UP, (), 100.0 + i)
        each.put(m.BREAKER_OPEN, ("a",), float(i == 1))
        each.put(m.PRICE, (), float(i))
    for gathering in gatherings:
        read = gathering.read()
        assert read[SERIES] == [6]
        assert read[m.IN_FLIGHT, ()] == [3]
        assert read[m.CAUGHT_UP, ()] == [100]
        assert read[m.BREAKER_OPEN, ("a",)] == [1]
        assert read[m.PRICE, ()] == [1]


def test_nothing_of_a_killed_process_is_lost(folder: Path) -> None:
    """Before another starts, after it has, and after more have died; its requests in flight have died with it."""
    gathering = Gathering(folder, kept=False)
    own = gathering.join("own")
    own.add(m.REQUESTS, ROUTE, 5)
    died = 5
    for count in (7, 11, 13):
        one_dies(folder, f"dies-{count}", count)
        died += count
        read = gathering.read()
        assert read[SERIES] == [died]
        assert sum(read[m.HTTP_DURATION, ("GET", "/v1/route", "200")][:-1]) == died - 5
        assert read.get((m.IN_FLIGHT, ()), [0]) == [0]
    Gathering(folder, kept=False).join("new")
    assert gathering.read()[SERIES] == [died]


def test_a_burial_that_was_cut_short_counts_nobody_twice(folder: Path) -> None:
    """The sum was written, and the file of the dead is still there."""
    one_dies(folder, "dies", 9)
    (file,) = folder.glob("*.dies")
    content = file.read_bytes()
    gathering = Gathering(folder, kept=False)
    gathering.join("own")
    file.write_bytes(content)
    assert gathering.read()[SERIES] == [9]
    Gathering(folder, kept=False).join("next")
    assert gathering.read()[SERIES] == [9]
    assert not file.exists()


def test_the_last_one_clears_the_folder_away(folder: Path) -> None:
    """And not the one before; a folder that somebody named stays."""
    first, second = Gathering(folder, kept=False), Gathering(folder, kept=False)
    one, two = first.join("one"), second.join("two")
    one.add(m.REQUESTS, ROUTE)
    first.leave(one)
    assert second.read()[SERIES] == [1]
    second.leave(two)
    assert not folder.exists()
    kept = Gathering(folder, kept=True)
    kept.leave(kept.join("again"))
    assert folder.exists()


def test_files_of_another_version_are_let_be(folder: Path) -> None:
    """Their numbers mean something else."""
    folder.mkdir()
    (folder / "0123456789ab.other").write_bytes(os.urandom(1000))
    gathering = Gathering(folder, kept=True)
    gathering.join("own").add(m.REQUESTS, ROUTE)
    assert gathering.read()[SERIES] == [1]
    assert (folder / "0123456789ab.other").exists()


def test_labels_are_bounded() -> None:
    """However many values come, and the sum is right all the same."""
    samples = Samples()
    for i in range(1000):
        samples.add(m.CAPPED, (f"model-{i}",))
    found = {labels: numbers for (metric, labels), numbers in samples.read() if metric is m.CAPPED}
    assert len(found) == m.MOST_VALUES["model"] + 1
    assert found["other",] == [1000 - m.MOST_VALUES["model"]]


def test_a_full_file_says_how_much_it_could_not_count() -> None:
    """Rather than failing the request that is counted."""
    samples = Samples()
    for i in range(100):
        for j in range(30):
            samples.observe(m.TOKEN_USAGE, (f"operation-{j}", "p", f"model-{i}", "input"), 5)
    read = dict(samples.read())
    counted = sum(sum(numbers[:-1]) for (metric, _), numbers in read.items() if metric is m.TOKEN_USAGE)
    assert read[m.UNCOUNTED, ()][0] + counted == 3000
    assert read[m.UNCOUNTED, ()][0] > 0
