"""Refreshes are dense at first and rare later, and never stop."""

from conduit.bandits.schedule import Schedule


def test_refreshes_grow_like_the_logarithm_of_observations_and_never_stop() -> None:
    schedule, last, refreshes = Schedule(), 0, []
    for n in range(1, 20_001):
        if schedule.due(n, last):
            last = n
            refreshes.append(n)
    assert refreshes[0] <= 4
    assert len(refreshes) < 150
    assert 20_000 - refreshes[-1] <= schedule.longest
