"""Who is at the other end of a connection, as far as that can be known: what is counted by address is counted by this.

X-Forwarded-For is what the caller wrote, and then what each proxy added at its right end. It is therefore read from the
right, and only for as long as what wrote the entry is a proxy that the operator trusts. uvicorn's own layer reads it.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from conduit.api.paths import sent
from conduit.core.networks import Network

UNKNOWN = "unknown"
"""A Unix socket has no address: all behind it are one peer, and so are those whose proxy names them by no address."""
LOOPBACK = ("127.0.0.1", 0)
BELIEVED_UNASKED = ["127.0.0.1", "::1"]
"""Whose headers uvicorn believes where it is started without --no-proxy-headers."""
PREFIX_OF_ONE_HOST = 64
"""Bits of an IPv6 address: whoever has one address has the whole block, and could take another one each time."""


class TrustedProxies:
    """Puts the caller's address and scheme in the place of a `trusted` proxy's, and of no other's.

    A server in front of this may have done that already for callers on this machine, who are not trusted unless they
    are named: what it has put there is recognised, and taken back.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app if not trusted else cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", app), _named(trusted)))
        self._unasked = ProxyHeadersMiddleware(_nothing, BELIEVED_UNASKED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"x-forwarded-for" in sent(scope) and await self._was_put_there(scope):
            scope["client"] = LOOPBACK
        await self._app(scope, receive, send)

    async def _was_put_there(self, scope: Scope) -> bool:
        """Whether the client is what that server would have made of the headers of a caller on this machine."""
        theirs: Any = {"type": "http", "client": LOOPBACK, "headers": scope["headers"], "scheme": "http"}
        await self._unasked(theirs, cast("Any", None), cast("Any", None))
        return bool(theirs["client"] == scope.get("client"))


async def _nothing(scope: object, receive: object, send: object) -> None:
    """Stands where an application would."""


def _named(trusted: Sequence[Network]) -> list[str]:
    """IPv4 also as a server that listens on IPv6 sees it."""
    mapped = [f"::ffff:{n.network_address}/{96 + n.prefixlen}" for n in trusted if isinstance(n, IPv4Network)]
    return [*map(str, trusted), *mapped]


def peer_of(scope: Scope) -> str:
    """The caller's address: IPv4, or an IPv6 block of /64. Never raises."""
    client = scope.get("client")
    if not client or not client[0]:
        return UNKNOWN
    try:
        address = ip_address(client[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return str(address) if isinstance(address, IPv4Address) else _block(address)


def _block(address: IPv6Address) -> str:
    free = 128 - PREFIX_OF_ONE_HOST
    return f"{IPv6Address(int(address) >> free << free)}/{PREFIX_OF_ONE_HOST}"
