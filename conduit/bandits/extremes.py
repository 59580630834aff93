"""The two extremes that bracket every router: always the best so far, always the cheapest."""

from conduit.bandits.argmax import argmax_probability
from conduit.bandits.policy import Distribution, Menu, Vector
from conduit.bandits.without_context import WithoutContext


class AlwaysBest(WithoutContext):
    """Greedy without context (Sutton & Barto 2018, section 2.6): the best mean quality so far, whatever it costs.

    An arm that was not seen counts as 1, so that each is tried. Nothing else explores: an unlucky start may last.
    """

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """The penalty changes nothing, nor does a budget."""
        mean = self.seen.means(menu.arms, unseen=1.0)
        return Distribution(argmax_probability(mean), mean, self.seen.widths(menu.arms))


class AlwaysCheapest(WithoutContext):
    """The arm of lowest cost (of lowest penalty, where costs are not told); quality changes nothing."""

    def distribution(self, x: Vector, menu: Menu) -> Distribution:
        """Arms that cost the same are equally likely."""
        mean = self.seen.means(menu.arms)
        cost = menu.penalty if menu.cost is None else menu.cost
        return Distribution(argmax_probability(-cost), mean, self.seen.widths(menu.arms))
