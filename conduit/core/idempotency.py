"""What an Idempotency-Key stands for: who asked, for what, and the answer that it was given."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from conduit.routing.errors import InvalidRequest

HEADER = "Idempotency-Key"
NAME = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """As it went out."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = field(repr=False)
    """None: it was too large to be kept."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Claim:
    """One request that runs under a key, for as long as it is renewed."""

    id: str
    owner: str
    """The id of the caller's API key; empty where none is asked for."""
    name: str
    digest: bytes
    expires_s: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a key already stands for."""

    digest: bytes
    answer: StoredAnswer | None
    """None: it runs."""


def digest_of(path: str, session: str, body: bytes) -> bytes:
    """What must be the same, byte by byte, for two requests to be one; `session`: what their headers say of it."""
    named = f"\0{session}" if session else ""
    return sha256(f"{path}{named}\0".encode() + body).digest()


def checked_name(sent: Sequence[str]) -> str | None:
    """Of the headers of one request; None when there is none. Raises InvalidRequest."""
    if not sent:
        return None
    if len(sent) > 1 or NAME.fullmatch(sent[0]) is None:
        raise InvalidRequest(f"{HEADER}: must be one header of 1 to 255 visible ASCII characters", param=HEADER)
    return sent[0]
