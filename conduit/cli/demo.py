"""`conduit demo`: plays on a terminal, prints its last figures in a pipe."""

import asyncio
import time

from rich.console import Console
from rich.live import Live

from conduit.assemble import assemble_demo
from conduit.assemble.conduit import Conduit
from conduit.bench.demo import Scene, play
from conduit.cli.console import stage


def run_demo(*, seconds: int, seed: int) -> None:
    """Nothing is written, nothing is sent."""
    asyncio.run(_run(seconds=seconds, seed=seed))


async def _run(*, seconds: int, seed: int) -> None:
    conduit = await assemble_demo(seed=seed)
    await conduit.start()
    try:
        await _show(conduit, seconds=seconds, seed=seed)
    finally:
        await conduit.stop()


async def _show(conduit: Conduit, *, seconds: int, seed: int) -> None:
    console = Console()
    end = time.monotonic() + seconds
    with Live(console=console, auto_refresh=False, transient=True) as live:
        scene: Scene | None = None
        async for scene in play(conduit, seed=seed):
            left = end - time.monotonic()
            if console.is_terminal:
                live.update(stage(scene, round(max(left, 0))), refresh=True)
            if left <= 0:
                break
            await asyncio.sleep(pace_s(scene.n))
    if scene is not None:
        console.print(stage(scene, 0))


def pace_s(n: int) -> float:
    """Slow enough to read at first, then as fast as a steady stream."""
    return 0.25 if n < 8 else 0.04
