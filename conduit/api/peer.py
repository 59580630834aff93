"""Who is at the other end of a connection, as far as that can be known: what is counted by address is counted by this.

X-Forwarded-For is what the caller wrote, and then what each proxy added at its right end. It is therefore read from the
right, and only for as long as the one who wrote the entry is a proxy that the operator trusts.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import dropwhile

from starlette.types import Scope

from conduit.api.paths import sent
from conduit.core.networks import Network

FORWARDED_FOR = b"x-forwarded-for"
UNKNOWN = "unknown"
"""A Unix socket has no address: all behind it are one peer."""
LOOPBACK = IPv4Address("127.0.0.1")
PREFIX_OF_ONE_HOST = 64
"""Bits of an IPv6 address: whoever has one address has the whole block, and could take another one each time."""


def peer_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """The right-most address that is not a `trusted` proxy's: IPv4, or an IPv6 block of /64. Never raises."""
    client = scope.get("client")
    if not client or not client[0]:
        return UNKNOWN
    host: str = client[0]
    hops = _hops(scope)
    if not hops and ":" not in host:
        return host  # by far the most common, and nothing to parse
    if _put_there(host, hops):
        if not _within(LOOPBACK, trusted):
            return str(LOOPBACK)
        hops = _beyond_loopback(hops)[1:]
    address = _address(host)
    for hop in hops:
        named = _address(hop)
        if address is None or named is None or not _within(address, trusted):
            break
        address = named
    return UNKNOWN if address is None else _host(address)


def _hops(scope: Scope) -> list[str]:
    """Entries of X-Forwarded-For from the right; several headers are one list."""
    if FORWARDED_FOR not in sent(scope):
        return []
    values = [str(value, "latin-1") for name, value in scope["headers"] if name == FORWARDED_FOR]
    return [entry.strip() for entry in reversed(",".join(values).split(","))]


def _put_there(host: str, hops: list[str]) -> bool:
    """Whether the server took `host` from the header: uvicorn does, unless told otherwise, when the caller is on
    127.0.0.1, and takes the right-most entry that is not."""
    entry = next(iter(_beyond_loopback(hops)), None)
    return entry is not None and host in {entry, entry.partition(":")[0], entry[1:].partition("]")[0]}


def _beyond_loopback(hops: list[str]) -> list[str]:
    return list(dropwhile(lambda hop: _address(hop) == LOOPBACK, hops))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Also with a port, as some proxies write it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _host(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    free = 128 - PREFIX_OF_ONE_HOST
    return f"{IPv6Address(int(address) >> free << free)}/{PREFIX_OF_ONE_HOST}"
