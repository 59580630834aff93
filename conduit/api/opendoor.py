"""While no key is asked for: what a browser sends for a page of another site is refused.

A page cannot read our answers, but it can have requests sent from its visitor's machine, and answers cost money.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api.envelope import Problem, refuse
from conduit.api.paths import is_preflight, routed_path, sent
from conduit.core.request_state import state_of

ANY = "*"
PRIVATE = ("localhost", "local", "internal", "test", "home.arpa", "cluster.local")
"""Ends of names that the public DNS does not have: nobody can serve a page under them and then move it here."""
ELSEWHERE = frozenset({b"cross-site", b"same-site"})
READING = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
KEY_CURES = "or ask for keys: set API_KEY"


class OpenDoor:
    """Stands in front of /v1/ for whoever has no key because none is asked for; browsers say where a page is from.

    `origins` may call (CORS_ALLOWED_ORIGINS); `hosts` are our own names besides addresses, names without a dot and
    private ones (API_ALLOWED_HOSTS). Under a name that is not ours a page of another site is taken for ours, once its
    name leads here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], hosts: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        names = tuple(host.lower() for host in hosts)
        self._is_ours = lru_cache(256)(lambda host: ANY in names or is_ours(host, names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and state_of(scope).key is None and routed_path(scope).startswith("/v1/"):
            problem = None if is_preflight(scope) else self._problem(scope)
            if problem is not None:
                await refuse(problem, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = sent(scope)
        host = headers.get(b"host", b"")
        if not self._is_ours(host):
            told = f"the gateway is not known under this name; add it to API_ALLOWED_HOSTS, {KEY_CURES}"
            return Problem(403, "foreign_host", told)
        if self._from_elsewhere(headers, host):
            told = f"pages of other sites may not send this; add their origin to CORS_ALLOWED_ORIGINS, {KEY_CURES}"
            return Problem(403, "foreign_origin", told)
        if scope["method"] not in READING and not _says_json(headers.get(b"content-type", b"")):
            return Problem(415, "unsupported_media_type", "say what the body is: `Content-Type: application/json`")
        return None

    def _from_elsewhere(self, headers: Mapping[bytes, bytes], host: bytes) -> bool:
        origin = headers.get(b"origin")
        if origin is None:
            return headers.get(b"sec-fetch-site") in ELSEWHERE
        origin = origin.lower()
        if origin in self._origins or b"*" in self._origins:
            return False
        return headers.get(b"sec-fetch-site") in ELSEWHERE or origin.partition(b"://")[2] != host.lower()


def is_ours(host: bytes, names: Sequence[str]) -> bool:
    """Of a Host header. None at all is no browser's."""
    name = _without_port(str(host, "latin-1").strip().lower()).removesuffix(".")
    if "." not in name and ":" not in name:  # of this machine, or of a network that whoever runs it names itself
        return True
    if name.endswith(tuple(f".{end}" for end in PRIVATE)) or name in names:
        return True
    if any(name.endswith(each[1:]) for each in names if each.startswith("*.")):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _says_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))
