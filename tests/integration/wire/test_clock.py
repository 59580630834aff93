"""A clock that was ahead, or behind, when something was written: what comes at its right time teaches all the same."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.wire.ledgers import ask, chance_of_good, cli, database, gateway, rate, said, teach
from tests.support.stub_provider import StubProvider

YEAR_S = 365 * 86400.0
LEAST = 0.8
"""Of the good model's chance in the mean over 20 prompts, after 80 ratings; .9 with a clock that was right (seed 7)."""
TIMES = {
    "35 ten years ahead": lambda now_s: now_s + 10 * YEAR_S,
    "35 milliseconds for seconds": lambda now_s: now_s * 1000.0,
    "35 as late as can be": lambda _: 1e308,
    "35 control: as early as can be, which never did harm": lambda _: -1e308,
}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


def move(folder: Path, time_s: float) -> None:
    """All that there is to that time, as a wrong clock would have written it."""
    with database(folder) as connection:
        for table in ("decisions", "outcomes", "feedback", "observations"):
            connection.execute(f"UPDATE {table} SET time_s = ?", (time_s,))


@pytest.mark.parametrize("name", TIMES)
def test_one_entry_at_a_wrong_time_does_not_end_learning(stub: StubProvider, tmp_path: Path, name: str) -> None:
    with gateway(tmp_path, stub.base_url) as running:
        rate(running, ask(running, "the first of all", "bad")[0], 1.0)
        running.stop()
        move(tmp_path, TIMES[name](time.time()))
        running.start()
        teach(running, 80)
        running.get("/v1/stats")  # which catches up
        assert chance_of_good(running) > LEAST
        running.stop()
        running.start()
        assert chance_of_good(running) > LEAST, "nor after a restart"
        assert "Traceback" not in running.said


def test_35_it_is_told_that_entries_are_of_the_future(stub: StubProvider, tmp_path: Path) -> None:
    with gateway(tmp_path, stub.base_url) as running:
        teach(running, 2)
        running.stop()
        move(tmp_path, time.time() + YEAR_S)
        running.start()
        assert "clock" in running.said
        assert 'conduit_degraded_total{what="clock"}' in running.get("/metrics").body.decode()


def test_35_an_export_of_a_ledger_with_a_wrong_time_is_taken_with_a_word(stub: StubProvider, tmp_path: Path) -> None:
    with gateway(tmp_path / "one", stub.base_url) as running:
        teach(running, 2)
        running.stop()
    move(tmp_path / "one", time.time() + 10 * YEAR_S)
    assert cli(tmp_path / "one", "export", "../ledger.jsonl").returncode == 0
    with gateway(tmp_path / "two", stub.base_url) as running:
        taken = cli(tmp_path / "two", "import", "../ledger.jsonl")
        assert taken.returncode == 0
        assert "future" in said(taken)
        teach(running, 80)
        running.get("/v1/stats")
        assert chance_of_good(running) > LEAST
