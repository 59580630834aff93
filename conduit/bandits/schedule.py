"""When to refresh beliefs: by the count of observations, densely at first and then at geometric distances."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due when the observations since the last refresh exceed a share of all before it."""

    first: int = 4
    growth: float = 0.05
    longest: int = 512

    def due(self, n: int, last: int) -> bool:
        """Whether beliefs made at `last` observations should be renewed at `n`."""
        return n - last >= min(max(self.first, self.growth * last), self.longest)
