"""bench, replay, demo and evaluate, as they are run: processes with pipes, in a folder of their own."""

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from conduit.bench.off_policy import WARM_UP
from conduit.bench.prompts import prompts
from conduit.providers.sandbox import sandbox_models
from tests.support.gateway import ROOT, GatewayProcess, environ
from tests.unit.bench.made_up import made_up_rows, write_table

JUDGE = ROOT.parent / "shared/bench/score.py"
ROWS = made_up_rows(200)
TIMEOUT_S = 300
"""A busy machine is no failure."""
RATED = 200
SANDBOX = {"SANDBOX_TIME_SCALE": "0", "SEED": "1"}
POLICIES = ("hierarchical", "thompson_sampling", "uniform")


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str


def conduit(*words: object, cwd: Path) -> Said:
    argv = [str(Path(sys.executable).with_name("conduit")), *map(str, words)]
    env = environ() | SANDBOX | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, timeout=TIMEOUT_S, check=False)
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def well(said: Said) -> str:
    """What it printed, once it is known that it fits a terminal, and that nothing was meant for a person watching."""
    assert (said.code, said.err) == (0, "")
    assert "\x1b" not in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    return said.out


def refused(said: Said) -> str:
    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith("conduit: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("tables") / "made_up.jsonl.gz", ROWS)


# ------------------------------------------------------------------ bench


@pytest.fixture(scope="module")
def played(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What was printed, and the folder that was written."""
    folder = tmp_path_factory.mktemp("bench")
    chosen = [word for policy in POLICIES for word in ("--policy", policy)]
    said = conduit("bench", table, *chosen, "--budgets", 2, "--seeds", 2, "--out", "here", cwd=folder)
    return well(said), folder / "here"


def test_bench_prints_a_line_for_each_policy(played: tuple[str, Path]) -> None:
    out, _ = played
    lines = [line for line in out.splitlines() if line.startswith(POLICIES)]
    assert [line.split()[0] for line in lines] == list(POLICIES)
    assert [line.count("(") for line in lines] == [0, 1, 1]
    assert "made_up: 200 prompts, 3 models\n2 budget(s), " in out
    assert "n = 2 seed(s)" in out


def test_bench_writes_every_run(played: tuple[str, Path]) -> None:
    results = json.loads((played[1] / "results.json").read_bytes())
    assert results["plan"] == {"policies": list(POLICIES), "budgets": 2, "seeds": 2, "limit": None}
    (told,) = results["tables"]
    assert (told["table"], told["n"], set(told["singles"])) == ("made_up", 200, {"small", "wordy", "large"})
    assert len(told["budgets_usd"]) == 2
    runs = told["runs"]
    assert len({(r["policy"], r["budget_usd"], r["seed"]) for r in runs}) == len(runs) == 12
    for run in runs:
        assert run["n"] == 200
        assert 0 <= run["whole"]["quality"] <= 1
        assert run["overshoot"] == pytest.approx(run["whole"]["cost_usd"] / run["budget_usd"])
        assert set(run["second_half"]) == {"quality", "cost_usd", "capture"}
        assert len(run["regret"]) == 101
    stood = {s["policy"]: s for s in told["standings"]}
    for policy in POLICIES:
        captures = [r["whole"]["capture"] for r in runs if r["policy"] == policy]
        assert stood[policy]["capture"] == pytest.approx(fmean(captures))
    difference = stood["hierarchical"]["capture"] - stood["uniform"]["capture"]
    assert stood["uniform"]["behind_first"]["mean"] == pytest.approx(difference)


def test_bench_draws_a_picture(played: tuple[str, Path]) -> None:
    root = ET.parse(played[1] / "made_up.svg").getroot()
    words = " ".join(part.text or "" for part in root.iter("{http://www.w3.org/2000/svg}text"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert all(word in words for word in (*POLICIES, "small", "wordy", "large", "hull", "oracle", "prompts"))


def test_bench_in_two_processes_gives_the_same(table: Path, tmp_path: Path) -> None:
    chosen = ("--policy", "thompson_sampling", "--policy", "uniform", "--budgets", 2, "--seeds", 2, "--limit", 60)
    for jobs in (1, 2):
        well(conduit("bench", table, *chosen, "--jobs", jobs, "--out", f"jobs{jobs}", cwd=tmp_path))
    for name in ("results.json", "made_up.svg"):
        assert (tmp_path / "jobs1" / name).read_bytes() == (tmp_path / "jobs2" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["absent.jsonl.gz"], "absent.jsonl.gz: No such file or directory"),
        (["TABLE", "absent.jsonl.gz"], "absent.jsonl.gz: No such file or directory"),
        (["TABLE", "--policy", "nobody"], "'nobody' is not one of hierarchical"),
        (["TABLE", "--policy", "fixed:nobody"], "fixed:nobody names no model"),
        (["TABLE", "TABLE"], "two tables are called made_up"),
        (["TABLE", "--out", "/dev/null/x"], "--out: cannot write to /dev/null/x"),
    ],
)
def test_bench_says_in_one_line_what_it_cannot_do(
    table: Path, tmp_path: Path, words: list[str], complaint: str
) -> None:
    said = refused(conduit("bench", *(table if w == "TABLE" else w for w in words), cwd=tmp_path))
    assert complaint in said
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ replay


@pytest.fixture(scope="module")
def decided(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decisions of a run under a budget, and next to them those of one without."""
    folder = tmp_path_factory.mktemp("replay")
    free = ("--policy", "uniform", "--seed", 4, "--decisions", "free.jsonl")
    well(conduit("replay", table, "--budget-usd", 0.0005, "--seed", 4, "--decisions", "paced.jsonl", cwd=folder))
    well(conduit("replay", table, *free, cwd=folder))
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_replay_decides_on_every_row_once(decided: Path) -> None:
    paced, free = lines(decided / "paced.jsonl"), lines(decided / "free.jsonl")
    assert sorted(d["id"] for d in paced) == sorted(d["id"] for d in free) == sorted(row.id for row in ROWS)
    assert [d["id"] for d in paced] == [d["id"] for d in free]
    assert {frozenset(d) for d in paced} == {frozenset({"id", "model", "propensity", "budget_usd", "seed"})}
    assert {frozenset(d) for d in free} == {frozenset({"id", "model", "propensity", "seed"})}
    assert {(d["budget_usd"], d["seed"]) for d in paced} == {(0.0005, 4)}
    assert all(d["propensity"] == pytest.approx(1 / 3) for d in free)
    assert all(0 < d["propensity"] <= 1 for d in paced)


def test_the_judge_accepts_the_decisions(table: Path, decided: Path) -> None:
    if not JUDGE.exists():
        pytest.skip(f"the judge {JUDGE} is absent")
    files = [decided / "paced.jsonl", decided / "free.jsonl"]
    judged = subprocess.run(
        [sys.executable, JUDGE, table, *files], capture_output=True, check=True, timeout=TIMEOUT_S
    ).stdout
    paced, free, both = map(json.loads, judged.splitlines())
    assert (paced["n"], paced["seed"], paced["budget_usd"]) == (200, 4, 0.0005)
    assert (free["budget_usd"], free["overshoot"]) == (None, None)
    assert both["files"] == 2


def test_replay_stops_at_the_limit(table: Path, tmp_path: Path) -> None:
    well(conduit("replay", table, "--limit", 20, "--decisions", "d.jsonl", cwd=tmp_path))
    assert len(lines(tmp_path / "d.jsonl")) == 20


def test_a_fixed_policy_asks_one_model(table: Path, tmp_path: Path) -> None:
    out = well(conduit("replay", table, "--policy", "fixed:large", "--decisions", "d.jsonl", cwd=tmp_path))
    assert {d["model"] for d in lines(tmp_path / "d.jsonl")} == {"large"}
    assert re.search("^always large +100.0%", out, re.MULTILINE)


@pytest.mark.parametrize("budget", ["-1", "0", "nan", "inf"])
def test_a_budget_that_is_none_is_refused(table: Path, tmp_path: Path, budget: str) -> None:
    assert "--budget-usd: must be above 0" in refused(conduit("replay", table, "--budget-usd", budget, cwd=tmp_path))


# ------------------------------------------------------------------ demo


def test_the_demo_in_a_pipe_prints_its_last_figures_once(tmp_path: Path) -> None:
    began = time.monotonic()
    out = well(conduit("demo", "--seconds", 3, cwd=tmp_path))
    assert time.monotonic() - began >= 3
    assert out.count("Conduit learns") == 1
    assert "prompts through the real gateway" in out
    assert "USD per 1000" in out
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ evaluate


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A folder whose ledger has answers of the simulated models, and how good each was said to be, in order."""
    folder, told = tmp_path_factory.mktemp("rated"), []
    with GatewayProcess(folder, env=SANDBOX) as gateway:
        for prompt in islice(prompts(1), RATED):
            body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
            reply = gateway.post("/v1/chat/completions", body)
            quality = reply.json["conduit_sandbox"]["quality"]
            feedback = {"response_id": reply.headers["x-conduit-decision"], "quality_score": quality}
            assert gateway.post("/v1/feedback", feedback).status == 200
            told.append(quality)
        gateway.stop()
    return folder, told


def test_an_empty_ledger_says_how_much_is_needed(tmp_path: Path) -> None:
    said = refused(conduit("evaluate", cwd=tmp_path))
    assert f"the ledger has 0 answers that were routed and rated, or failed; more than {WARM_UP} are needed" in said


def test_evaluate_reports_what_was_served_as_it_was(rated: tuple[Path, list[float]]) -> None:
    folder, told = rated
    out = well(conduit("evaluate", "--policy", "uniform", cwd=folder))
    served = next(line for line in out.splitlines() if line.startswith("as it was served"))
    assert float(served.removeprefix("as it was served").split()[0]) == pytest.approx(fmean(told[WARM_UP:]), abs=6e-4)
    assert re.search(r"^uniform: *\n  doubly robust", out, re.MULTILINE)
    assert "  SNIPS" in out
    assert "less what was served" in out


def test_evaluate_concludes_or_says_how_long_to_wait(rated: tuple[Path, list[float]]) -> None:
    folder, _ = rated
    for policy in ("hierarchical", f"fixed:{sandbox_models()[-1].name}"):
        out = " ".join(well(conduit("evaluate", "--policy", policy, cwd=folder)).split())
        assert f"{RATED - WARM_UP} requests rated or failed" in out
        assert "No conclusion" not in out or "are needed: wait for some" in out


def test_evaluate_for_a_program(rated: tuple[Path, list[float]]) -> None:
    """The same figures, and how long to wait."""
    told = json.loads(well(conduit("evaluate", "--policy", "uniform", "--json", cwd=rated[0])))
    assert (told["policy"], told["requests"], told["level"]) == ("uniform", RATED - WARM_UP, 0.9)
    assert told["quality"]["served"]["value"] == pytest.approx(fmean(rated[1][WARM_UP:]), abs=6e-4)
    assert told["concluded"] is (told["effective"] >= told["effective_needed"])
    assert told["days_needed"] >= 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--policy", "nobody"], "'nobody' is not one of"),
        (["--preferences", "all"], "'all' is not one of balanced"),
        (["--preferences", "cost=x"], "write 'cost=x' as"),
    ],
)
def test_evaluate_says_in_one_line_what_it_cannot_do(
    rated: tuple[Path, list[float]], words: list[str], complaint: str
) -> None:
    assert complaint in refused(conduit("evaluate", *words, cwd=rated[0]))


# ------------------------------------------------------------------ savings


def test_savings_are_printed_against_the_baseline_and_the_best(rated: tuple[Path, list[float]]) -> None:
    out = well(conduit("savings", cwd=rated[0]))
    assert re.search(r"\(baseline\) +[+-]\d+\.\d{3} +[+-]\d+\.\d{3} to [+-]\d+\.\d{3} +200", out)
    assert "(best)" in out


def test_savings_for_a_program(rated: tuple[Path, list[float]]) -> None:
    """Against a model that was named."""
    name = sandbox_models()[-1].name
    told = json.loads(well(conduit("savings", "--baseline", name, "--json", cwd=rated[0])))
    saved = told["against_baseline"]
    assert (saved["against"], saved["n"], saved["level"]) == (name, RATED, 0.9)
    assert saved["low"] < saved["value"] < saved["high"]


def test_savings_against_nobody_are_refused(rated: tuple[Path, list[float]]) -> None:
    assert "--baseline: no model is called 'nobody'" in refused(
        conduit("savings", "--baseline", "nobody", cwd=rated[0])
    )
