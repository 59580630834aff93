"""Policies by name, as settings and the command line say them."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from conduit.bandits.baselines import Fixed, Uniform
from conduit.bandits.dueling import Dueling
from conduit.bandits.epsilon_greedy import EpsilonGreedy
from conduit.bandits.extremes import AlwaysBest, AlwaysCheapest
from conduit.bandits.hierarchical import HierarchicalThompson
from conduit.bandits.hybrid import Hybrid
from conduit.bandits.knn import NearestNeighbours
from conduit.bandits.linear_thompson import LinearThompson
from conduit.bandits.linucb import LinUCB
from conduit.bandits.paced_linucb import DualAscent, PacedLinUCB
from conduit.bandits.pacing import Pacer
from conduit.bandits.policy import Policy
from conduit.bandits.thompson import BetaThompson
from conduit.bandits.ucb1 import UCB1
from conduit.routing.errors import ConfigurationError

DEFAULT_POLICY = "hierarchical"
PER_FEATURE = 5.0
"""Observations to a feature before a hybrid looks at the context."""
Maker = Callable[[Sequence[int], Mapping[str, float], float], Policy]
"""Of the features' blocks, of log10 of each model's price about their mean, and of the time constant of forgetting in
seconds. A policy whose paper knows no forgetting forgets nothing."""
POLICIES: Mapping[str, Maker] = {
    "hierarchical": lambda blocks, prices, tau_s: HierarchicalThompson(blocks, attribute=prices, tau_s=tau_s),
    "thompson_sampling": lambda _, __, tau_s: BetaThompson(tau_s=tau_s),
    "contextual_thompson_sampling": lambda blocks, _, tau_s: LinearThompson(sum(blocks), tau_s=tau_s),
    "ucb1": lambda *_: UCB1(),
    "epsilon_greedy": lambda *_: EpsilonGreedy(),
    "linucb": lambda blocks, _, tau_s: LinUCB(sum(blocks), tau_s=tau_s),
    "paced_linucb": lambda blocks, _, tau_s: PacedLinUCB(sum(blocks), tau_s=tau_s),
    "hybrid_ucb1_linucb": lambda blocks, *_: _hybrid(UCB1(), blocks),
    "hybrid_thompson_linucb": lambda blocks, *_: _hybrid(BetaThompson(), blocks),
    "dueling": lambda *_: Dueling(),
    "knn": lambda blocks, *_: NearestNeighbours(sum(blocks)),
    "always_best": lambda *_: AlwaysBest(),
    "always_cheapest": lambda *_: AlwaysCheapest(),
    "uniform": lambda *_: Uniform(),
}
FIXED = "fixed:"
NO_PRICES: Mapping[str, float] = MappingProxyType({})


def make_policy(
    name: str, blocks: Sequence[int], prices: Mapping[str, float] = NO_PRICES, *, tau_s: float = math.inf
) -> Policy:
    """A new policy, as a Maker makes it. Raises ConfigurationError for a name that is not known."""
    if name.startswith(FIXED):
        return Fixed(_known(name.removeprefix(FIXED), prices))
    if name not in POLICIES:
        raise ConfigurationError(f"policy: {name!r} is not one of {', '.join(POLICIES)}, {FIXED}MODEL")
    return POLICIES[name](blocks, prices, tau_s)


def _known(model: str, prices: Mapping[str, float]) -> str:
    if prices and model not in prices:
        raise ConfigurationError(f"policy: {FIXED}{model} names no model; there are {', '.join(prices)}")
    return model


def make_pacer(name: str, budget_usd: float) -> Pacer | DualAscent:
    """What prices dollars for this policy: paced_linucb brings its own dual step."""
    return DualAscent(budget_usd) if name == "paced_linucb" else Pacer(budget_usd)


def _hybrid(first: Policy, blocks: Sequence[int]) -> Policy:
    dimension = sum(blocks)
    return Hybrid(first, LinUCB(dimension), switch=PER_FEATURE * dimension)
