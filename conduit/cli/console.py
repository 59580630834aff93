"""How a replay and the demo look in a terminal: at most 80 columns, and plain lines in a pipe."""

from collections.abc import Collection, Mapping
from typing import Literal

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from conduit.bench.demo import Scene
from conduit.bench.replay import Summary

BAR = 24


def summary_table(summary: Summary, alone: Mapping[str, tuple[float, float]], *, budget_usd: float | None) -> Table:
    """The run beside what each single model would have given."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "share", "quality", "USD/request"):
        table.add_column(name, justify="left" if not name else "right", overflow="ellipsis", no_wrap=True)
    table.add_row("[bold]this run", "", f"[bold]{summary.quality:.4f}", f"[bold]{summary.cost_usd:.3e}")
    for model, (cost_usd, quality) in sorted(alone.items(), key=lambda item: item[1][0]):
        share = summary.by_model[model] / summary.n
        table.add_row(f"always {model}", f"{share:.1%}", f"{quality:.4f}", f"{cost_usd:.3e}")
    if budget_usd is not None:
        table.add_row("budget", f"{summary.cost_usd / budget_usd:.1%} spent", "", f"{budget_usd:.3e}")
    return table


def stage(scene: Scene, seconds_left: int) -> RenderableType:
    """The whole demo screen."""
    heading = Text(f"{scene.n} prompts through the real gateway, simulated models; {seconds_left} s left")
    last = Text(f"{_short(scene.prompt, 60)}\n  -> {scene.model}: {scene.why}", style="dim")
    parts: list[RenderableType] = [
        heading,
        "",
        _shares(scene),
        "",
        _figures(scene),
        Text(savings_line(scene), style="bold"),
        "",
        last,
    ]
    return Panel(Group(*parts), title="Conduit learns", width=80)


def _shares(scene: Scene) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, share in scene.shares().items():
        table.add_row(name, "█" * round(share * BAR), f"{share:.0%}")
    return table


def _figures(scene: Scene) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("", f"first {len(scene.first)}", f"last {len(scene.recent)}", "all"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("quality", f"{_mean(scene.first, 1):.3f}", f"{_mean(scene.recent, 1):.3f}", f"{scene.quality:.3f}")
    costs = (_mean(scene.first, 2), _mean(scene.recent, 2), scene.cost_usd / scene.n)
    table.add_row("USD per 1000", *(f"{1000 * cost:.3f}" for cost in costs))
    return table


def savings_line(scene: Scene) -> str:
    """Estimated from the logged propensities, as on real traffic."""
    saved = scene.saved
    if saved is None:
        return f"saved against always {scene.baseline}: not enough seen yet"
    per_1000 = [1000 * usd for usd in (saved.value, saved.low, saved.high)]
    return (
        f"saved against always {scene.baseline}: {per_1000[0]:.2f} USD per 1000\n"
        f"  {saved.level:.0%} interval {per_1000[1]:.2f} to {per_1000[2]:.2f}, from forecasts and logged probabilities"
    )


def _mean(moments: Collection[tuple[str, float, float]], part: Literal[1, 2]) -> float:
    values = [moment[part] for moment in moments]
    return sum(values) / len(values)


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
