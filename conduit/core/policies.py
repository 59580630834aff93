"""Policies by name, as settings and the command line say them."""

from collections.abc import Callable, Mapping, Sequence

from conduit.bandits.baselines import Fixed, Uniform
from conduit.bandits.hierarchical import HierarchicalThompson
from conduit.bandits.policy import Policy
from conduit.bandits.thompson import BetaThompson
from conduit.core.errors import ConfigurationError

DEFAULT_POLICY = "hierarchical"
POLICIES: Mapping[str, Callable[[Sequence[int]], Policy]] = {
    "hierarchical": HierarchicalThompson,
    "thompson_sampling": lambda _: BetaThompson(),
    "uniform": lambda _: Uniform(),
}
FIXED = "fixed:"


def make_policy(name: str, blocks: Sequence[int]) -> Policy:
    """A new policy for contexts of these blocks. Raises ConfigurationError for a name that is not known."""
    if name.startswith(FIXED):
        return Fixed(name.removeprefix(FIXED))
    if name not in POLICIES:
        raise ConfigurationError(f"policy: {name!r} is not one of {', '.join(POLICIES)}, {FIXED}MODEL")
    return POLICIES[name](blocks)
