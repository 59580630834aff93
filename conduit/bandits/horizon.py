"""What the next requests of a day or month may cost each, so that its dollars last to the end and are spent by then.

What is left is shared out over the requests that are expected in the rest of the period: a rate for each hour of the
day, averaged over days, times how the last hours compare with it. Where the forecast is wrong, what is left and what
is expected change with every look, so that the error shrinks as the period ends.
"""

import math

import numpy as np

from conduit.bandits.policy import Vector

HOURS = 24
HOUR_S = 3600.0
MEMORY_S = 2 * HOUR_S
"""Of one hour's rate, in seconds of that hour: about two days."""
JUST_NOW_S = HOUR_S / 3
"""Of how much is asked just now: a burst is to be noticed before it has spent what the evening needs."""
UNSEEN = 1.5
"""How busy an hour of which nothing is known is taken to be, by the mean of the others: what is kept back for it and
not needed is spent later in the day, and what was spent too early is gone."""
RETURN_S = 3 * HOUR_S
"""After which a burst or a lull is expected to have passed, by a factor of e."""
PRIOR = 20.0
"""Requests for which the average is believed before the last hours say otherwise."""
LEVELS = (0.25, 4.0)
CEILING = 2.0
"""No request may cost more than so many even shares: what is left over is not burnt in the last minute."""


class Traffic:
    """Learns when requests come, from counts of them."""

    def __init__(self) -> None:
        self._requests, self._seconds = np.zeros(HOURS), np.zeros(HOURS)
        self._seen = self._foreseen = 0.0

    def count(self, requests: float, *, until_s: float, elapsed_s: float) -> None:
        """So many came in the `elapsed_s` seconds before `until_s` (Unix seconds)."""
        hour = _hour(until_s - elapsed_s / 2.0)
        just_now, kept = math.exp(-elapsed_s / JUST_NOW_S), math.exp(-elapsed_s / MEMORY_S)
        self._foreseen = self._foreseen * just_now + self._rates()[hour] * elapsed_s
        self._seen = self._seen * just_now + requests
        self._requests[hour] = self._requests[hour] * kept + requests
        self._seconds[hour] = self._seconds[hour] * kept + elapsed_s

    def expected(self, now_s: float, end_s: float) -> float:
        """Requests between the two."""
        rates, total, at_s = self._rates(), 0.0, now_s
        excess = self._level() - 1.0
        while at_s < end_s:
            next_s = min((math.floor(at_s / HOUR_S) + 1.0) * HOUR_S, end_s)
            level = 1.0 + excess * math.exp((now_s - at_s) / RETURN_S)
            total += float(rates[_hour(at_s)]) * (next_s - at_s) * level
            at_s = next_s
        return total

    def _rates(self) -> Vector:
        """(24,) requests a second; an hour that was never seen may be busier than the mean of the others."""
        seen = self._seconds > 0.0
        if not seen.any():
            return np.zeros(HOURS)
        rates = np.divide(self._requests, self._seconds, out=np.zeros(HOURS), where=seen)
        return np.where(seen, rates, UNSEEN * rates[seen].mean())

    def _level(self) -> float:
        return min(max((self._seen + PRIOR) / (self._foreseen + PRIOR), LEVELS[0]), LEVELS[1])


def per_request_usd(budget_usd: float, *, spent_usd: float, requests: float, expected: float) -> float:
    """US dollars for each of the next requests, after so many and before as many as are `expected`."""
    expected = max(expected, 1.0)
    even_usd = budget_usd / (requests + expected)
    return min(max(budget_usd - spent_usd, 0.0) / expected, CEILING * even_usd)


def _hour(time_s: float) -> int:
    return int(time_s // HOUR_S) % HOURS
