"""Keys: who may call, for what, how much, and until when. Of a secret only its digest is ever kept."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from conduit.routing.errors import InvalidRequest

COMPLETE, FEEDBACK, READ, ADMIN = "complete", "feedback", "read", "admin"
SCOPES = (COMPLETE, FEEDBACK, READ, ADMIN)
"""Ask models; judge answers; look at what happened; everything, keys and other keys' decisions included."""
USUAL_SCOPES = frozenset({COMPLETE, FEEDBACK, READ})
"""Of a key for which none were named."""

PREFIX = "cdt_"
SECRET_BYTES = 32
SECRET = re.compile(rb"cdt_[A-Za-z0-9_-]{43}")
NAME = re.compile(r"(?!key_)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Fits into a line of 80 columns and into a header; one that begins as ids do could be taken for one."""

SHORTEST, FEWEST = 16, 6
"""Characters of a key that nobody guesses, and different ones among them."""
STRONG = f"at least {SHORTEST} characters, as `openssl rand -hex 32` gives them"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one key may ask for; None is what the gateway's own settings say."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute", "concurrent"):
            limit = getattr(self, name)
            if limit is not None and not 1 <= limit <= 2**31 - 1:
                raise InvalidRequest(f"{name}: must be a number from 1 to {2**31 - 1}, not {limit}", param=name)

    @property
    def none(self) -> bool:
        return self.requests_per_minute is None and self.tokens_per_minute is None and self.concurrent is None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Key:
    """Who calls. Id and name stay the same when its secret is replaced."""

    id: str
    name: str
    scopes: frozenset[str]
    expires_s: float | None = None
    """Unix seconds; None is never."""
    limits: Limits = UNLIMITED

    def may(self, scope: str) -> bool:
        return scope in self.scopes or ADMIN in self.scopes

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.scopes


THE_OPERATORS = Key("api_key", "api_key", frozenset(SCOPES))
"""The one whose secret is the setting API_KEY."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One of the secrets of a key: two are good while one replaces the other."""

    digest: bytes
    """SHA-256. The secret has 256 random bits: a slow hash would protect nothing more."""
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """All that is kept of a key."""

    key: Key
    created_s: float
    revoked_s: float | None
    secrets: tuple[Secret, ...]

    def admits(self, digest: bytes, now_s: float) -> bool:
        """Whether who has this secret is let in now."""
        if self.revoked_s is not None or _over(self.key.expires_s, now_s):
            return False
        return any(compare_digest(s.digest, digest) and not _over(s.expires_s, now_s) for s in self.secrets)

    def usable(self, now_s: float) -> bool:
        """Whether any secret is let in now."""
        return any(self.admits(secret.digest, now_s) for secret in self.secrets)


def _over(expires_s: float | None, now_s: float) -> bool:
    return expires_s is not None and expires_s <= now_s


def secret_of(random: bytes) -> str:
    """What a caller sends, made of SECRET_BYTES random bytes."""
    if len(random) != SECRET_BYTES:
        raise ValueError(f"a secret takes {SECRET_BYTES} random bytes, not {len(random)}")
    return PREFIX + urlsafe_b64encode(random).rstrip(b"=").decode()


def digest_of(secret: bytes) -> bytes:
    return sha256(secret).digest()


def looks_managed(token: bytes) -> bool:
    """Whether the store could know it: nobody is looked up who cannot be there."""
    return SECRET.fullmatch(token) is not None


def checked_name(name: str) -> str:
    """Raises InvalidRequest."""
    if NAME.fullmatch(name) is None or name == THE_OPERATORS.name:
        raise InvalidRequest(
            "name: 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit; "
            f"not {THE_OPERATORS.name!r}, and not beginning with 'key_'",
            param="name",
        )
    return name


def checked_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Raises InvalidRequest."""
    named = frozenset(scopes)
    unknown = sorted(named - set(SCOPES))
    if unknown or not named:
        wrong = f"{unknown[0][:64]!r} is not one of" if unknown else "at least one of"
        raise InvalidRequest(f"scopes: {wrong} {', '.join(SCOPES)}", param="scopes")
    return named


def weakness(key: str) -> str:
    """Why a key of the operator's own making may be guessed; empty: it may not, or there is none."""
    if not key or (len(key) >= SHORTEST and len(set(key)) >= FEWEST and key not in (key + key)[1:-1]):
        return ""
    return f"is shorter than {SHORTEST} characters" if len(key) < SHORTEST else "repeats itself"
