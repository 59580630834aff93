"""`conduit bench`: a progress bar, a table for each routing table, results.json and a picture."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from conduit.bench.frontier import frontier
from conduit.bench.plot import draw, picture_format
from conduit.bench.replay import FOR_PRICES, priced_models, shuffled
from conduit.bench.standings import LEVEL, Standing, standings
from conduit.bench.tables import read_table
from conduit.bench.tournament import Arena, Run, entries, play_all
from conduit.routing.errors import ConfigurationError
from conduit.routing.policies import POLICIES
from conduit.routing.router import Router

CONTENDERS = ("hierarchical", "thompson_sampling", "linucb", "paced_linucb")
NO_PICTURE = "no picture (pip install 'conduit-router[bench]')"
EVERY = "all"
"""As a policy: every one that has a name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be played on each table."""

    policies: Sequence[str]
    budgets: int
    seeds: int
    limit: int | None


def run_bench(
    tables: Sequence[Path],
    *,
    policies: Sequence[str],
    budgets: int,
    seeds: int,
    limit: int | None,
    jobs: int,
    out: Path,
    form: str | None,
) -> None:
    """Raises ConfigurationError for a table, a policy, a folder or a format that cannot be used, before anything is
    played."""
    form = picture_format(form)
    names = POLICIES if EVERY in policies else policies or CONTENDERS
    plan = Plan(list(dict.fromkeys(names)), budgets, seeds, limit)
    arenas = [_arena(path, plan) for path in tables]
    _check_names(arenas)
    _write(out, {})
    done: list[dict[str, Any]] = []
    for arena in arenas:
        runs = list(_played(arena, plan, jobs=jobs))
        stood = standings(runs)
        done.append(_told(arena, plan, runs, stood))
        results = orjson.dumps({"plan": plan, "tables": done}, option=orjson.OPT_INDENT_2)
        pictures = {f"{arena.name}.{form}": draw(arena, runs, stood, form)} if form else {}
        _write(out, {"results.json": results} | pictures)
        Console().print(standings_table(stood), footnote(arena, plan), "", sep="\n")
    drawn = ", ".join(f"{arena.name}.{form}" for arena in arenas) if form else NO_PICTURE
    Console().print(f"written: {out}/results.json, {drawn}", highlight=False)


# ------------------------------------------------------------------ before


def _arena(path: Path, plan: Plan) -> Arena:
    """With a limit, the same prompts are played for every seed: one frontier holds for all runs."""
    rows = shuffled(read_table(path), seed=0, limit=plan.limit)
    arena = Arena(path.name.removesuffix(".gz").removesuffix(".jsonl"), rows, frontier(rows))
    arena.frontier.budgets(plan.budgets)  # raises where there are none
    models = priced_models(rows[:FOR_PRICES])
    for policy in plan.policies:
        Router(models, policy=policy)  # raises where nobody is called so
    return arena


def _check_names(arenas: Sequence[Arena]) -> None:
    names = [arena.name for arena in arenas]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"two tables are called {twice}: their pictures would be one file")


# ------------------------------------------------------------------ while and after


def _played(arena: Arena, plan: Plan, *, jobs: int) -> Iterator[Run]:
    """With a progress bar on a terminal, without one in a pipe."""
    entered = entries(plan.policies, arena.frontier.budgets(plan.budgets), plan.seeds)
    runs = play_all(arena, entered, jobs=jobs)
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from runs
        return
    with Progress(console=console, transient=True) as progress:
        yield from progress.track(runs, total=len(entered), description=arena.name)


def _told(arena: Arena, plan: Plan, runs: Sequence[Run], stood: Sequence[Standing]) -> dict[str, Any]:
    singles = {name: {"cost_usd": c, "quality": q} for name, (c, q) in arena.frontier.singles.items()}
    return {
        "table": arena.name,
        "n": len(arena.rows),
        "singles": singles,
        "hull": arena.frontier.hull,
        "budgets_usd": arena.frontier.budgets(plan.budgets),
        "standings": stood,
        "runs": runs,
    }


def _write(out: Path, files: dict[str, bytes]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write to {out}: {error.strerror}") from None


def standings_table(stood: Sequence[Standing]) -> Table:
    """Whole in 80 columns: the longest names go on in a second line."""
    table = Table(box=None, pad_edge=False)
    table.add_column("policy", overflow="fold")  # the one that may be wrapped is the one that gives way
    for heading in ("capture", "2nd\nhalf", "over-\nshoot", "\nworst", "first less this"):
        table.add_column(heading, justify="right", no_wrap=True)
    for s in stood:
        error = "" if s.capture_error is None else f" ±{_bare(f'{s.capture_error:.3f}')}"
        shoots = (f"{s.overshoot:.3f}", f"{s.worst_overshoot:.3f}")
        table.add_row(Name(s.policy), _signed(s.capture) + error, _signed(s.second_half), *shoots, _difference(s))
    return table


@dataclass(frozen=True, slots=True)
class Name:
    """Broken after an underscore where the column is too narrow, for names have no spaces; what follows is indented."""

    text: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(len, self.lines(0))), len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("\n".join(self.lines(options.max_width)))

    def lines(self, width: int) -> list[str]:
        """As many parts to a line as it holds, and one at least."""
        lines = [""]
        for part in re.split("(?<=_)", self.text):
            if not lines[-1] or len(lines[-1]) + len(part) <= width:
                lines[-1] += part
            else:
                lines.append(f" {part}")
        return lines


def _difference(standing: Standing) -> str:
    found = standing.behind_first
    if found is None:
        return ""
    return f"{_signed(found.mean)} ({_signed(found.low)}, {_signed(found.high)})"


def _signed(value: float) -> str:
    return _bare(f"{value:+.3f}")


def _bare(number: str) -> str:
    """Without the zero before the point."""
    return number.replace("0.", ".", 1) if number.lstrip("+-").startswith("0.") else number


def footnote(arena: Arena, plan: Plan) -> Text:
    rungs = arena.frontier.budgets(plan.budgets)
    played = f"{arena.name}: {len(arena.rows)} prompts, {len(arena.frontier.singles)} models"
    ladder = f"{plan.budgets} budget(s), {rungs[0]:.2e} to {rungs[-1]:.2e} USD a request"
    errors = f"± standard error, () {LEVEL:.0%} paired bootstrap interval; both over n = {plan.seeds} seed(s)"
    return Text(f"{played}\n{ladder}\n{errors}", style="dim")
