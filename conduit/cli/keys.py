"""`conduit keys`: the same as /v1/keys, on the database itself. A secret alone goes to standard output."""

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from textwrap import fill
from typing import TypeVar

from conduit.api.sources import read_environ, read_settings
from conduit.assemble import with_key_admin
from conduit.assemble.remarks import nearly_its_table
from conduit.core.keys import KeyEntry, Limits
from conduit.gateway.access.key_admin import Cut, KeyAdmin
from conduit.routing.errors import InvalidRequest

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WIDTH = 80
T = TypeVar("T")


def create(name: str, *, scopes: Sequence[str], expires: str | None, limits: Limits) -> None:
    expires_in_s = None if expires is None else seconds_of(expires, "--expires")

    async def made(smith: KeyAdmin) -> Cut:
        return await smith.create(name, scopes=scopes or None, expires_in_s=expires_in_s, limits=limits)

    settings = read_settings(read_environ())
    _show_once(asyncio.run(with_key_admin(settings, made)))
    if table := nearly_its_table(settings, name):
        said = f"conduit.toml has [keys.{table}], which is not this key's: write [keys.{name}]"
        print(fill(said, WIDTH, break_on_hyphens=False), file=sys.stderr)  # noqa: T201


def rotate(name: str, *, overlap: str) -> None:
    overlap_s = seconds_of(overlap, "--overlap")

    async def rotated(smith: KeyAdmin) -> Cut:
        return await smith.rotate(name, overlap_s=overlap_s)

    _show_once(_run(rotated))


def revoke(name: str) -> None:
    async def revoked(smith: KeyAdmin) -> KeyEntry:
        return await smith.revoke(name)

    print(described(_run(revoked), time.time()))  # noqa: T201


def show() -> None:
    async def listed(smith: KeyAdmin) -> Sequence[KeyEntry]:
        return await smith.list()

    entries, now_s = _run(listed), time.time()
    print("\n".join(described(entry, now_s) for entry in entries) or "There is no key yet.")  # noqa: T201


def seconds_of(text: str, option: str) -> float:
    """Of 90s, 15m, 12h or 30d."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise InvalidRequest(f"{option}: {text[:40]!r} is no duration such as 90s, 15m, 12h or 30d", param=option)
    return float(found[1]) * SECONDS[found[2]]


def described(entry: KeyEntry, now_s: float) -> str:
    """A few lines of at most 80 columns."""
    key, limits = entry.key, entry.key.limits
    facts = [_state(entry, now_s), ", ".join(sorted(key.scopes))]
    bounds = {
        "requests/min": limits.requests_per_minute,
        "tokens/min": limits.tokens_per_minute,
        "at once": limits.concurrent,
    }
    facts += [f"{bound} {what}" for what, bound in bounds.items() if bound is not None]
    facts += [
        f"secret {s.digest.hex()[:12]} until {_day(s.expires_s)}"
        for s in entry.secrets
        if s.expires_s is not None and s.expires_s > now_s
    ]
    return f"{key.name}\n{fill('; '.join([key.id, *facts]), WIDTH, initial_indent='  ', subsequent_indent='  ')}"


def _state(entry: KeyEntry, now_s: float) -> str:
    if entry.revoked_s is not None:
        return f"revoked {_day(entry.revoked_s)}"
    expires_s = entry.key.expires_s
    if expires_s is None:
        return "good until it is revoked"
    return f"{'good until' if expires_s > now_s else 'expired'} {_day(expires_s)}"


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _show_once(cut: Cut) -> None:
    print(described(cut.entry, time.time()), file=sys.stderr)  # noqa: T201
    print("Its secret, which is shown this once and kept nowhere:", file=sys.stderr, flush=True)  # noqa: T201
    print(cut.secret)  # noqa: T201


def _run(work: Callable[[KeyAdmin], Awaitable[T]]) -> T:
    return asyncio.run(with_key_admin(read_settings(read_environ()), work))
