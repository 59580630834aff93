"""Who has this token: the keys of the store, remembered for so short a time that a revocation is soon effective."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest
from typing import NamedTuple

from conduit.core.errors import KeysUnavailable, LedgerUnavailable, Unauthenticated
from conduit.core.events import Degraded
from conduit.core.keys import THE_OPERATORS, Key, KeyEntry, digest_of, looks_managed
from conduit.core.protocols import Listener
from conduit.core.storage import KeyStore
from conduit.routing.errors import ConfigurationError
from conduit.routing.protocols import Clock

FRESH_S = 2.0
"""So long the store is not asked again: a revocation is effective within this, on every worker."""
LOOK_S = 1.0
"""A store that has not answered by then is away."""
REST_S = 1.0
"""So long a store that is away is left alone."""
MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say of the door."""

    api_key: bytes = field(default=b"", repr=False)
    """Empty: there is none."""
    required_by: str = ""
    """The setting that wants a key, if one does."""
    grace_s: float = 300.0
    """How long after its last look-up a key is good while the store is away."""


class Admitted(NamedTuple):
    """A caller who is known."""

    key: Key
    remembered: bool = False
    """The store is away: the key was good when it was looked up last."""


@dataclass(frozen=True, slots=True)
class _Seen:
    entry: KeyEntry
    at_s: float


class Authenticator:
    """A gateway that never had a key asks for none; from the first key on it asks, and for good."""

    def __init__(self, store: KeyStore, terms: Terms, *, clock: Clock, listener: Listener) -> None:
        self._store, self._terms, self._clock, self._listener = store, terms, clock, listener
        self._own = digest_of(terms.api_key) if terms.api_key else None
        self._asks = self._own is not None or bool(terms.required_by)
        self._looked_s = float("-inf")
        self._away = False
        self._rests_until_s = float("-inf")
        self._seen: dict[bytes, _Seen] = {}
        self._looking: dict[bytes, asyncio.Task[KeyEntry | None]] = {}

    async def open(self) -> None:
        """Raises ConfigurationError when a key is required and there is none, and LedgerUnavailable."""
        self._asks |= await self._store.any()
        if not self._terms.required_by or self._own is not None:
            return
        now_s = self._clock.now_s()
        if not any(entry.usable(now_s) for entry in await self._store.list()):
            raise ConfigurationError(
                f"{self._terms.required_by}: nobody could be let in, for there is no usable key. "
                "Make one with `conduit keys create NAME`, or set API_KEY"
            )

    async def asks(self) -> bool:
        """Whether callers need a key."""
        if self._asks:
            return True
        now_s = self._clock.elapsed_s()
        if now_s - self._looked_s >= FRESH_S:
            self._looked_s = now_s
            try:
                async with asyncio.timeout(LOOK_S):
                    self._asks = await self._store.any()
            except (LedgerUnavailable, TimeoutError):
                self._went_away()
        return self._asks

    async def admit(self, token: bytes) -> Admitted:
        """Raises Unauthenticated, and KeysUnavailable for a token that was not seen lately."""
        digest = digest_of(token)
        if self._own is not None and compare_digest(digest, self._own):
            return Admitted(THE_OPERATORS)
        if not looks_managed(token):
            raise _invalid()
        seen, remembered = self._seen.get(digest), False
        if seen is None or self._clock.elapsed_s() - seen.at_s >= FRESH_S:
            seen, remembered = await self._look_up(digest, seen)
        if seen is None or not seen.entry.admits(digest, self._clock.now_s()):
            raise _invalid()
        return Admitted(seen.entry.key, remembered)

    def forget(self) -> None:
        """What was remembered: a key was changed here."""
        self._seen.clear()

    async def _look_up(self, digest: bytes, seen: _Seen | None) -> tuple[_Seen | None, bool]:
        """What the store says, or what is still remembered while it is away, and which of the two."""
        started_s = self._clock.elapsed_s()
        if self._away:
            if started_s < self._rests_until_s:
                return self._remembered(seen), True
            self._rests_until_s = started_s + REST_S  # one tries, and nobody waits for it
        try:
            entry = await self._ask_once(digest)
        except (LedgerUnavailable, TimeoutError):
            self._went_away()
            return self._remembered(seen), True
        self._away = False
        self._seen.pop(digest, None)
        if entry is None:
            return None, False
        if len(self._seen) >= MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        found = self._seen[digest] = _Seen(entry, started_s)
        return found, False

    async def _ask_once(self, digest: bytes) -> KeyEntry | None:
        """Many requests of one key at a time are one question."""
        task = self._looking.get(digest)
        if task is None:
            task = self._looking[digest] = asyncio.create_task(self._ask(digest))
            task.add_done_callback(partial(self._asked, digest))
        return await asyncio.shield(task)

    def _asked(self, digest: bytes, task: asyncio.Task[KeyEntry | None]) -> None:
        del self._looking[digest]
        if not task.cancelled():
            task.exception()  # somebody may have waited for it, or everybody went away

    async def _ask(self, digest: bytes) -> KeyEntry | None:
        async with asyncio.timeout(LOOK_S):
            return await self._store.find(digest)

    def _remembered(self, seen: _Seen | None) -> _Seen:
        if seen is None or self._clock.elapsed_s() - seen.at_s >= self._terms.grace_s:
            raise KeysUnavailable("whether this key is good cannot be looked up just now; send it again")
        return seen

    def _went_away(self) -> None:
        self._rests_until_s = self._clock.elapsed_s() + REST_S
        if not self._away:
            self._away = True
            self._listener(Degraded("keys", "keys cannot be looked up; those seen lately stay good for a while"))


def _invalid() -> Unauthenticated:
    return Unauthenticated("invalid_api_key", "this API key is wrong, expired or revoked")
