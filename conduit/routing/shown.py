"""What is believed of each model, as a person reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conduit.bandits.policy import Vector
from conduit.routing.beliefs import Beliefs
from conduit.routing.catalogue import Model
from conduit.routing.choice import weigh
from conduit.routing.query import Preferences


@dataclass(frozen=True, slots=True)
class Belief:
    """Of one signal of one model: quality (0..1), tokens or latency (s)."""

    model: str
    signal: str
    observations: float
    """Weights, as they have decayed."""
    mean: float
    width: float
    """Standard deviation of the belief in the mean; of quality, as far as a choice takes it into account."""


def shown(beliefs: Beliefs, models: Sequence[Model], contexts: Sequence[Vector]) -> Iterator[Belief]:
    """What is believed of each in the mean over `contexts`."""
    if not models:
        return
    expected = [beliefs.expect(x, models, input_tokens=0, most=None) for x in contexts]
    looked = [weigh(x, each, Preferences(), beliefs) for x, each in zip(contexts, expected, strict=True)]
    for i, model in enumerate(models):
        quality = [candidates[i].quality for candidates in looked]
        width = [candidates[i].quality_sd for candidates in looked]
        yield Belief(model.name, "quality", beliefs.weights.get(model.name, 0.0), _mean(quality), _mean(width))
        for name, signal in beliefs.signals.items():
            mean, relative = signal.believed(model, contexts)
            n = signal.weights.get(model.name, 0.0)
            yield Belief(model.name, name, n, float(mean.mean()), float((mean * relative).mean()))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
