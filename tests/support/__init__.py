"""Named fakes of the outside world."""
