"""What is old goes from the ledger; what it taught stays in a base snapshot, from which the fold goes on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from conduit.gateway.learning.follow import Follower


class Pruning(Protocol):
    """Raises LedgerUnavailable."""

    async def newest(self) -> int: ...

    async def remove(self, *, before_s: float, up_to: int, after: str = "") -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Pruned:
    decisions: int
    position: int | None
    """Of the base snapshot that keeps what they taught; None where nobody asked for one."""


async def prune(
    pruning: Pruning, follower: Follower | None, *, before_s: float, wait_s: float, most: int | None = None
) -> Pruned:
    """Beliefs are those of `follower`, which has begun; None: what is removed is forgotten at the next start.

    Only what all had time to read goes: a worker that is more than `wait_s` behind would never fold it. `most` ends it
    early, for a test. Ended in the middle, it goes on when it is done again.
    """
    up_to, position = await pruning.newest(), None
    if follower is not None:
        position = await follower.keep_base()
    await asyncio.sleep(wait_s)
    removed, after = 0, ""
    while most is None or removed < most:
        ids = await pruning.remove(before_s=before_s, up_to=up_to, after=after)
        if not ids:
            break
        removed, after = removed + len(ids), ids[-1]
    return Pruned(removed, position)
