"""Files that this process makes are private."""

import os


def private_by_default() -> None:
    """What this process makes is its owner's alone, whichever part or library makes it: a database, what lies beside
    it, exports, logs of payloads. For entrances, before anything is made."""
    os.umask(0o077)
