"""What goes on degrading does not fill the log."""

import structlog.testing

from conduit.core.events import Degraded, Followed
from conduit.observability.logging.logs import LogListener
from conduit.testing import StillClock


def test_what_goes_on_is_written_twice_a_minute_with_how_often_it_was() -> None:
    """And what is new at once, though the other goes on."""
    clock = StillClock()
    with structlog.testing.capture_logs() as lines:
        log = LogListener(clock)
        for quarter in range(60 * 4):
            clock.at_s = quarter / 4
            log(Degraded("follower", "LedgerUnavailable"))
            if quarter == 10:
                log(Degraded("follower", "TimeoutError"))
    assert [(line["why"], line["times"]) for line in lines] == [
        ("LedgerUnavailable", 1),
        ("TimeoutError", 1),
        ("LedgerUnavailable", 120),
    ]
    assert {line["log_level"] for line in lines} == {"warning"}


def test_a_database_that_is_back_is_told_once_and_the_next_outage_at_once() -> None:
    with structlog.testing.capture_logs() as lines:
        log = LogListener(StillClock())
        log(Followed(1, caught_up=True))
        for _ in range(2):
            log(Degraded("follower", "LedgerUnavailable"))
            log(Degraded("follower", "LedgerUnavailable"))
            log(Followed(2, caught_up=True))
            log(Followed(3, caught_up=True))
    assert [line["event"] for line in lines] == ["degraded", "recovered", "degraded", "recovered"]
