"""The demonstration: the real gateway over the sandbox's models, fed with made-up prompts and honest feedback."""

import itertools
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from conduit.assemble.conduit import Conduit
from conduit.bench.prompts import prompts
from conduit.gateway.request.answers import Completion
from conduit.gateway.request.exchange import Ask
from conduit.routing.query import Query
from conduit.routing.savings import Savings, savings

WINDOW = 200
ESTIMATED_EVERY = 50


@dataclass(slots=True)
class Scene:
    """What is on the screen."""

    baseline: str
    n: int = 0
    cost_usd: float = 0.0
    quality: float = 0.0
    """Mean over everything so far."""
    recent: deque[tuple[str, float, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    """(model, quality, cost in US dollars) of the last answers."""
    first: list[tuple[str, float, float]] = field(default_factory=list)
    """The same of the first ones, before anything was learned."""
    saved: Savings | None = None
    prompt: str = ""
    model: str = ""
    why: str = ""

    def shares(self) -> dict[str, float]:
        names = [model for model, _, _ in self.recent]
        return {name: names.count(name) / len(names) for name in sorted(set(names))}


async def play(conduit: Conduit, *, seed: int, count: int | None = None) -> AsyncIterator[Scene]:
    """One scene a prompt: ask, be told how good the answer was, say so, learn."""
    scene = Scene(conduit.stats.baseline)
    for prompt in itertools.islice(prompts(seed), count):
        body = {"messages": [{"role": "user", "content": prompt}]}
        done = await conduit.gateway.complete(Ask(Query(prompt, preferences=conduit.preferences), body))
        quality = told_quality(done)
        await conduit.settler.settle(done.decision.id, {"quality_score": quality})
        conduit.follower.wake()
        _note(scene, done, prompt, quality)
        if scene.n % ESTIMATED_EVERY == 0:
            recent = await conduit.ledger.recent(limit=2000)
            scene.saved = savings(recent, router=conduit.router, baseline=conduit.stats.baseline)
        yield scene


def told_quality(done: Completion) -> float:
    """The sandbox says itself how good its answer was."""
    told = done.answer.data["conduit_sandbox"]
    assert isinstance(told, dict)
    return float(told["quality"])


def _note(scene: Scene, done: Completion, prompt: str, quality: float) -> None:
    cost_usd = done.outcome.cost_usd or 0.0
    scene.n += 1
    scene.cost_usd += cost_usd
    scene.quality += (quality - scene.quality) / scene.n
    scene.prompt, scene.model, scene.why = prompt, done.outcome.model, done.decision.why
    moment = (done.outcome.model, quality, cost_usd)
    scene.recent.append(moment)
    if len(scene.first) < WINDOW:
        scene.first.append(moment)
