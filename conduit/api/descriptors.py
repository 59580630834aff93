"""File descriptors: as many as the system gives, and a word when they run out. A connection takes one, or two."""

import errno
import os
import resource

import structlog

MOST = 65_536
"""More connections than one process can serve."""
SCARCE = 0.9
REMEDY = "raise the hard limit (`ulimit -Hn`, LimitNOFILE=, --ulimit nofile=), or let fewer connections come at once"


def raise_limit() -> None:
    """Shells and service managers give 1024 at first, and leave it to the process to take more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Watch:
    """Warns once when they become scarce, and again after they were not: without any left callers wait unheard."""

    def __init__(self) -> None:
        self._scarce = False
        self._log = structlog.get_logger("conduit")

    def look(self) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        scarce = limit != resource.RLIM_INFINITY and _next() >= SCARCE * limit
        if scarce and not self._scarce:
            self._log.warning("file descriptors run out", limit=limit, remedy=REMEDY)
        self._scarce = scarce


def _next() -> float:
    """The number that the next one would have, which is the lowest that is free; infinite when there is none."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            return float("inf")
        raise
    os.close(descriptor)
    return descriptor
