"""Numbers of several processes: of the living, of the dead, and of those between."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conduit.observability.metrics import metrics as m
from conduit.observability.metrics.multiprocess import Multiprocess
from conduit.observability.metrics.samples import Samples

ROUTE = ("/v1/route", "200", "none")
SERIES = (m.REQUESTS, ROUTE)
DIES = """
import os, sys
from pathlib import Path
from conduit.observability.metrics import metrics as m
from conduit.observability.metrics.multiprocess import Multiprocess

samples = Multiprocess(Path(sys.argv[1]), kept=False).join(sys.argv[2])
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
    gatherings = [Multiprocess(folder, kept=False) for _ in range(3)]
    samples = [multiprocess.join(f"p{i}") for i, multiprocess in enumerate(gatherings)]
    for i, each in enumerate(samples):
        each.add(m.REQUESTS, ROUTE, i + 1)
        each.add(m.IN_FLIGHT)
        each.put(m.CAUGHT_UP, (), 100.0 + i)
        each.put(m.BREAKER_OPEN, ("a",), float(i == 1))
        each.put(m.PRICE, (), float(i))
    for multiprocess in gatherings:
        read = multiprocess.read()
        assert read[SERIES] == [6]
        assert read[m.IN_FLIGHT, ()] == [3]
        assert read[m.CAUGHT_UP, ()] == [100]
        assert read[m.BREAKER_OPEN, ("a",)] == [1]
        assert read[m.PRICE, ()] == [1]


def test_nothing_of_a_killed_process_is_lost(folder: Path) -> None:
    """Before another starts, after it has, and after more have died; its requests in flight have died with it."""
    multiprocess = Multiprocess(folder, kept=False)
    own = multiprocess.join("own")
    own.add(m.REQUESTS, ROUTE, 5)
    died = 5
    for count in (7, 11, 13):
        one_dies(folder, f"dies-{count}", count)
        died += count
        read = multiprocess.read()
        assert read[SERIES] == [died]
        assert sum(read[m.HTTP_DURATION, ("GET", "/v1/route", "200")][:-1]) == died - 5
        assert read.get((m.IN_FLIGHT, ()), [0]) == [0]
    Multiprocess(folder, kept=False).join("new")
    assert multiprocess.read()[SERIES] == [died]


def test_a_burial_that_was_cut_short_counts_nobody_twice(folder: Path) -> None:
    """The sum was written, and the file of the dead is still there."""
    one_dies(folder, "dies", 9)
    (file,) = folder.glob("*.dies")
    content = file.read_bytes()
    multiprocess = Multiprocess(folder, kept=False)
    multiprocess.join("own")
    file.write_bytes(content)
    assert multiprocess.read()[SERIES] == [9]
    Multiprocess(folder, kept=False).join("next")
    assert multiprocess.read()[SERIES] == [9]
    assert not file.exists()


def test_the_last_one_clears_the_folder_away(folder: Path) -> None:
    """And not the one before; a folder that somebody named stays."""
    first, second = Multiprocess(folder, kept=False), Multiprocess(folder, kept=False)
    one, two = first.join("one"), second.join("two")
    one.add(m.REQUESTS, ROUTE)
    first.leave(one)
    assert second.read()[SERIES] == [1]
    second.leave(two)
    assert not folder.exists()
    kept = Multiprocess(folder, kept=True)
    kept.leave(kept.join("again"))
    assert folder.exists()


def test_files_of_another_version_are_let_be(folder: Path) -> None:
    """Their numbers mean something else."""
    folder.mkdir()
    (folder / "0123456789ab.other").write_bytes(os.urandom(1000))
    multiprocess = Multiprocess(folder, kept=True)
    multiprocess.join("own").add(m.REQUESTS, ROUTE)
    assert multiprocess.read()[SERIES] == [1]
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
