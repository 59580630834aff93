"""When an event was logged."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from conduit.observability.logging.logs import Stamp
from conduit.testing import StillClock


@given(st.lists(st.integers(-4_000_000, 4_000_000_000_000_000), min_size=1))
def test_the_time_is_written_to_the_microsecond_in_any_order(times_us: list[int]) -> None:
    clock = StillClock()
    stamp = Stamp(clock)
    for time_us in times_us:
        clock.at_s = time_us / 1e6
        written = stamp(None, "info", {"event": "x"})
        read = datetime.strptime(written["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        assert written["event"] == "x"
        assert abs(read.timestamp() - clock.at_s) < 2e-6
