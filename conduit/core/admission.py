"""Whether a caller may come in: so many requests and tokens within a minute, and so many requests at once."""

from typing import NamedTuple

from conduit.core.keys import Limits

WINDOW_S = 60.0
LEASE_S = 60.0
"""After so long a request of a process that died no longer counts as running; of one that lives it is said anew."""


class Admission(NamedTuple):
    """The answer to one caller. Refused or not, `limit` and `current` are those of what is said."""

    refused: str
    """Of which there was too much: requests, tokens or concurrent; empty for who may come in."""
    limit: int | None
    """None: no number of requests is too many."""
    current: int
    """Within the window, this one included where it was let in."""
    wait_s: float
    """Until there is room again; of who was let in, until its oldest request no longer counts."""
    now_s: float
    """Unix seconds, of whoever counted."""
    held: int = 0
    """Tokens that are set aside for this visit."""

    @property
    def remaining(self) -> int:
        return 0 if self.refused or self.limit is None else max(self.limit - self.current, 0)


def within(limits: Limits, usual: Limits) -> Limits:
    """`limits`, and `usual` where they say nothing."""
    if limits.none:
        return usual
    return Limits(
        usual.requests_per_minute if limits.requests_per_minute is None else limits.requests_per_minute,
        usual.tokens_per_minute if limits.tokens_per_minute is None else limits.tokens_per_minute,
        usual.concurrent if limits.concurrent is None else limits.concurrent,
    )
