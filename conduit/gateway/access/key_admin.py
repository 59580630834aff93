"""Keys are made, given a new secret, and revoked; whoever asked sees the secret once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from conduit.core.keys import (
    SECRET_BYTES,
    UNLIMITED,
    USUAL_SCOPES,
    Key,
    KeyEntry,
    Limits,
    Secret,
    checked_name,
    checked_scopes,
    digest_of,
    secret_of,
)
from conduit.core.storage import KeyStore
from conduit.routing.errors import InvalidRequest
from conduit.routing.protocols import Clock, Ids

DAY_S = 86400.0
LONGEST_S = 3650 * DAY_S


@dataclass(frozen=True, slots=True)
class Cut:
    """A key with a secret that was just made."""

    entry: KeyEntry
    secret: str = field(repr=False)
    """It is kept nowhere."""


class KeyAdmin:
    """`random` gives so many bytes that nobody can guess."""

    def __init__(self, store: KeyStore, *, clock: Clock, ids: Ids, random: Callable[[int], bytes]) -> None:
        self._store, self._clock, self._ids, self._random = store, clock, ids, random

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        expires_in_s: float | None = None,
        limits: Limits | None = None,
    ) -> Cut:
        """Raises InvalidRequest, LedgerUnavailable. Without `scopes` it has the usual ones."""
        now_s, (secret, kept) = self._clock.now_s(), self._made()
        key = Key(
            self._ids.new("key"),
            checked_name(name),
            USUAL_SCOPES if scopes is None else checked_scopes(scopes),
            None if expires_in_s is None else now_s + _lasting(expires_in_s, "expires_in_s", least_s=1.0),
            limits or UNLIMITED,
        )
        entry = KeyEntry(key, now_s, None, (kept,))
        await self._store.create(entry)
        return Cut(entry, secret)

    async def rotate(self, name: str, *, overlap_s: float = DAY_S) -> Cut:
        """The secrets that it had are good for `overlap_s` more. Raises InvalidRequest, NotFound, LedgerUnavailable."""
        until_s = self._clock.now_s() + _lasting(overlap_s, "overlap_s", least_s=0.0)
        secret, kept = self._made()
        return Cut(await self._store.rotate(name, kept, until_s=until_s), secret)

    async def revoke(self, name: str) -> KeyEntry:
        """Raises NotFound, LedgerUnavailable."""
        return await self._store.revoke(name, now_s=self._clock.now_s())

    async def list(self) -> Sequence[KeyEntry]:
        return await self._store.list()

    def _made(self) -> tuple[str, Secret]:
        secret = secret_of(self._random(SECRET_BYTES))
        return secret, Secret(digest_of(secret.encode()))


def _lasting(seconds: float, param: str, *, least_s: float) -> float:
    if not least_s <= seconds <= LONGEST_S:
        raise InvalidRequest(f"{param}: must lie between {least_s:g} and {LONGEST_S:g} seconds", param=param)
    return seconds
