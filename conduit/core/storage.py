"""The seams of what is kept: the ledger, and what lies beside it. Without a database all raise LedgerUnavailable."""

from asyncio import Future
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from conduit.core.budget import Account, Hold, Spent
from conduit.core.idempotency import Claim, Standing, StoredAnswer
from conduit.core.keys import KeyEntry, Secret
from conduit.routing.decision import Decision, Feedback, Observation, Outcome, Record
from conduit.routing.snapshot import Recipe, Snapshot

# ------------------------------------------------------------------ the ledger


@dataclass(frozen=True, slots=True)
class Cap:
    """A condition of an append: with it, the feedback given to `model` under `key_id` after `since_s` teaches with at
    most `weight`, counting each answer's latest revision. Checked as of the commit; LedgerConflict when it does not
    hold. It is not kept."""

    key_id: str | None
    model: str
    since_s: float
    weight: float


Entry = Decision | Outcome | Feedback | Observation
ROUNDING = 1e-6
"""By how much sums of weights may differ from what they should be."""


class Place(StrEnum):
    """Where an append is kept."""

    LEDGER = "ledger"
    SPOOL = "spool"
    """On this machine's disk, until the ledger can take it: nobody finds it yet."""


class Standby(StrEnum):
    """What becomes of an append while the database is away."""

    NONE = "none"
    """It is lost."""
    READY = "ready"
    """It waits in the spool, which is empty now."""
    BUSY = "busy"
    """It waits in the spool, as others do already."""
    FULL = "full"
    """There was no room for the last one."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is no observation, whoever wrote it."""

    decision_id: str
    field: str
    """Which of its columns is wrong."""


UNREADABLE = "unreadable"
"""The version of the features of a decision whose row cannot be read: no context is made by them."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Every entry of one decision, each kind in its order."""

    decision: Decision
    outcome: Outcome | None
    feedback: tuple[Feedback, ...]
    """All revisions."""
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """Decisions of `key_id`, if it is named, that were made, answered or judged at `since_s` or later."""

    since_s: float | None = None
    key_id: str | None = None


EVERYTHING = Touched()


class Archive(Protocol):
    """The ledger decision by decision. Raises LedgerUnavailable."""

    async def page(self, *, after: str = "", limit: int = 200, touched: Touched = EVERYTHING) -> Sequence[Whole]:
        """The oldest first; `after` is the decision from which to go on."""
        ...


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole ledger in a few numbers."""

    decisions: int
    answered: int
    """By a model."""
    cached: int
    failed: int
    cost_usd: float
    """Of the answers whose price is known."""
    unpriced: int
    """Answers whose price is not."""
    latency_s: float
    """Mean over answers; 0 when there are none."""
    by_model: Mapping[str, int]
    rated: int
    """Answers whose latest feedback teaches."""
    quality: float | None
    """Their mean, by weight."""


class Ledger(Protocol):
    """One append-only log. The order of entries that one process appends is kept."""

    async def open(self) -> None:
        """Migrate and be ready. Raises LedgerUnavailable, or ConfigurationError when waiting cannot help."""
        ...

    def append(self, *entries: Entry | Cap, power_safe: bool = False) -> Future[Place]:
        """All or nothing. Queued at once; the future is done when the entries survive the death of the process
        (with `power_safe`, which wants them in the ledger, of the machine), or holds LedgerConflict, LedgerUnavailable,
        or LedgerError for an entry that cannot be kept at all. An observation whose decision is not there by then is
        let go: nobody reads past what comes later."""
        ...

    async def find(self, name: str, *, key_id: str | None = None) -> Record | None:
        """By decision id, or by the provider's id of the answer; with `key_id` among the decisions of that key only."""
        ...

    async def requested(self, request_id: str, *, key_id: str | None) -> Record | None:
        """The newest decision under a key (None: of callers without one) whose caller called the request so."""
        ...

    async def recent(self, *, limit: int, before: str | None = None, key_id: str | None = None) -> Sequence[Record]:
        """The newest first, without texts of prompts; `before` is a decision id, from which to go on; `key_id` as
        above."""
        ...

    async def observations(self, *, after: int, limit: int) -> Sequence[tuple[int, Observation | Unreadable]]:
        """With their positions, in the order in which the fold reads them. Position 0 is before the first."""
        ...

    async def now_s(self) -> float | None:
        """Unix seconds by the database's own clock; None where that is this machine's."""
        ...

    async def prompts(self, names: Sequence[str]) -> Mapping[str, str]:
        """The texts of these decisions, by id; those of which there is one."""
        ...

    async def taught(self, *, key_id: str | None, model: str, since_s: float) -> float:
        """The weight that a Cap counts."""
        ...

    async def latest(self, session_id: str, *, key_id: str | None, before: str | None = None) -> Record | None:
        """The newest decision of a session under a key, without text; `before` is a decision id, of those older than
        which."""
        ...

    async def totals(self, *, key_id: str | None = None) -> Totals:
        """With `key_id` of the decisions of that key only."""
        ...

    async def behind(self) -> bool:
        """Whether something waits on this machine that is not in the ledger yet."""
        ...

    @property
    def standby(self) -> Standby: ...

    async def check(self) -> bool:
        """A real query: whether the schema is as new as this code expects, or newer. Raises LedgerUnavailable."""
        ...

    async def close(self) -> None:
        """Write what is queued, then let go."""
        ...


class SnapshotStore(Protocol):
    """Snapshots of beliefs, beside the ledger. All raise LedgerUnavailable."""

    async def newest(self, *, before: int | None = None) -> tuple[int, Snapshot] | None:
        """The latest that was saved and not set aside, with its number; `before` is a number, from which to go on."""
        ...

    async def has(self, recipe: Recipe, *, after: int) -> bool:
        """Whether there is one of this recipe at a later position of the ledger."""
        ...

    async def save(self, snapshot: Snapshot, *, base: bool = False) -> None:
        """The newest few of a recipe are kept, and the newest `base`: one that knows what the ledger does not."""
        ...

    async def set_aside(self, number: int, why: str) -> None:
        """Never offered again, and never deleted."""
        ...


class Secrets(Protocol):
    """What all processes of a deployment share, and nobody else knows. Raises LedgerUnavailable."""

    async def shared(self, name: str, *, made: bytes) -> bytes:
        """The secret of this name: the one that is kept, else `made`, from now on and for everybody."""
        ...


class Answers(Protocol):
    """Answers under the names that callers gave to their requests, over all processes. All raise LedgerUnavailable."""

    async def claim(self, claim: Claim, *, now_s: float) -> Standing | None:
        """None: the name is the claim's from now on, in one step whoever else asks; else what it stands for."""
        ...

    async def keep(self, claim: Claim, answer: StoredAnswer, *, until_s: float) -> bool:
        """Whether the name was still the claim's."""
        ...

    async def release(self, claim: Claim) -> None:
        """The name stands for nothing again, if it was still the claim's and nothing was kept."""
        ...

    async def renew(self, ids: Sequence[str], *, until_s: float) -> None:
        """Of claims: those that there still are expire later."""
        ...

    async def sweep(self, *, now_s: float) -> None:
        """Forget what has expired."""
        ...


class Cache(Protocol):
    """Bytes under names, for a while. It may forget at any time. All raise CacheUnavailable and nothing else, within a
    tenth of a second."""

    async def get(self, name: str) -> bytes | None: ...

    async def put(self, name: str, value: bytes, *, ttl_s: float) -> None: ...

    async def close(self) -> None: ...


# ------------------------------------------------------------------ keys


class KeyStore(Protocol):
    """Keys and the digests of their secrets. What returned survives a power cut. A `name` may be a key's id, too; of
    several keys of one name it is the one that was not revoked, else the newest. All raise LedgerUnavailable."""

    async def create(self, entry: KeyEntry) -> None:
        """Raises InvalidRequest when a key that was not revoked has this name."""
        ...

    async def find(self, digest: bytes) -> KeyEntry | None:
        """By one of its secrets, be it good or not."""
        ...

    async def named(self, name: str) -> KeyEntry | None: ...

    async def list(self) -> Sequence[KeyEntry]:
        """All there ever were, the oldest first."""
        ...

    async def any(self) -> bool:
        """Whether there ever was one."""
        ...

    async def rotate(self, name: str, secret: Secret, *, until_s: float) -> KeyEntry:
        """With one more secret; those it had are good until `until_s` at most. Raises NotFound, of a revoked one."""
        ...

    async def revoke(self, name: str, *, now_s: float) -> KeyEntry:
        """For ever; again changes nothing. Raises NotFound."""
        ...


# ------------------------------------------------------------------ money


class SpendStore(Protocol):
    """Dollars spent under a name within a period, never above a limit, over all processes and restarts. What was
    reserved and never settled (the process died) stays spent. All raise LedgerUnavailable."""

    async def reserve(self, name: str, period: str, *, usd: float, limit_usd: float) -> bool:
        """Take `usd` if it fits under the limit with all that was taken before: in one step, whoever else asks."""
        ...

    async def settle(self, name: str, period: str, *, reserved_usd: float, actual_usd: float) -> None:
        """Put what it did cost in the place of what was reserved; more than that counts too."""
        ...

    async def spent(self, name: str, period: str) -> float:
        """US dollars, what is reserved included."""
        ...


class Reservations(Protocol):
    """What running calls may cost at most, over all processes: what was spent and what is held never come to more than
    an account's limit. What a process that died has held is void when it expires. All raise LedgerUnavailable."""

    async def take(self, hold: Hold, *, now_s: float) -> Account | None:
        """All or nothing, in one step whoever else asks: None, or the account in which there is not enough left."""
        ...

    async def settle(self, hold: Hold, *, actual_usd: float) -> None:
        """Put what it did cost in its place, also when it has expired by then, or was never taken."""
        ...

    async def renew(self, ids: Sequence[str], *, until_s: float) -> None:
        """Those that there still are expire later."""
        ...

    async def spent(self, accounts: Sequence[Account]) -> list[Spent]:
        """What was settled, of each."""
        ...

    async def used(self, accounts: Sequence[Account], *, now_s: float) -> list[float]:
        """US dollars that are spent or held, of each."""
        ...
