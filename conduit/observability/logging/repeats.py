"""What is said over and over is written once, and then now and again with how often it was."""

from conduit.routing.protocols import Clock

EVERY_S = 30.0
MOST = 1000
"""Things that are remembered; they are few, for no text of a caller's is among them."""


class Repeats:
    """Of what is told many times a second while it lasts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[tuple[str, ...], tuple[float, int]] = {}
        """When it was written, and how often it has been told since."""

    def times(self, *what: str) -> int:
        """How often `what` was told since it was last written, this time included; 0 while it is not to be written."""
        now_s = self._clock.elapsed_s()
        written_s, since = self._told.get(what, (-EVERY_S, 0))
        if now_s - written_s < EVERY_S:
            self._told[what] = written_s, since + 1
            return 0
        if len(self._told) >= MOST:
            self._told.clear()
        self._told[what] = now_s, 0
        return since + 1

    def over(self, first: str) -> bool:
        """Whatever began with `first` is over: should it come again, it is new. False if there was nothing."""
        ended = [what for what in self._told if what[0] == first]
        for what in ended:
            del self._told[what]
        return bool(ended)
