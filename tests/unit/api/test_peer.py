"""Who is at the other end."""

import random
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from conduit.api.peer import TrustedProxies, peer_of
from conduit.core.networks import parsed_networks

PROXIES = parsed_networks("10.0.0.0/8, 127.0.0.1, fd00::/8")


async def met(client: object, *forwarded: str, trusted: Any = PROXIES, proto: str | None = None) -> tuple[str, str]:
    """Peer and scheme, as what is behind the layer sees them."""
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    headers += [] if proto is None else [(b"x-forwarded-proto", proto.encode())]
    seen: list[tuple[str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((peer_of(scope), scope["scheme"]))

    scope = {"type": "http", "client": client, "headers": headers, "scheme": "http"}
    await TrustedProxies(app, trusted)(scope, nothing, nothing)
    return seen[0]


async def nothing(*_: object) -> Any:
    """No message comes, and none is sent."""


async def peer(client: object, *forwarded: str, trusted: Any = PROXIES) -> str:
    return (await met(client, *forwarded, trusted=trusted))[0]


@pytest.mark.parametrize(
    ("client", "forwarded", "who"),
    [
        (("203.0.113.9", 5000), [], "203.0.113.9"),
        (("203.0.113.9", 5000), ["198.51.100.1"], "203.0.113.9"),
        (("10.0.0.1", 5000), [], "10.0.0.1"),
        (("10.0.0.1", 5000), ["198.51.100.1"], "198.51.100.1"),
        (("10.0.0.1", 5000), ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        (("10.0.0.1", 5000), ["6.6.6.6", "198.51.100.1,10.0.0.2"], "198.51.100.1"),
        (("10.0.0.1", 5000), ["10.0.0.3 , 10.0.0.2"], "10.0.0.3"),
        (("10.0.0.1", 5000), ["198.51.100.1:443"], "198.51.100.1"),
        (("10.0.0.1", 5000), ["[2001:db8:1:2:3:4:5:6]:443"], "2001:db8:1:2::/64"),
        (("10.0.0.1", 5000), ["6.6.6.6, nonsense"], "unknown"),
        (("10.0.0.1", 5000), ["6.6.6.6, \xff, 10.0.0.2"], "unknown"),
        (("10.0.0.1", 5000), ["6.6.6.6, ::1"], "::/64"),
        (("10.0.0.1", 5000), ["198.51.100.1, fd00::7"], "198.51.100.1"),
        (("127.0.0.1", 5000), ["198.51.100.1"], "198.51.100.1"),
        (("::1", 5000), ["198.51.100.1"], "::/64"),
        (("10.0.0.1", 5000), ["", ",,"], "10.0.0.1"),
        (("::ffff:10.0.0.1", 5000), ["198.51.100.1"], "198.51.100.1"),
        (("::ffff:203.0.113.9", 5000), ["198.51.100.1"], "203.0.113.9"),
        (("fd00::1", 5000), ["198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], "unknown"),
        (("", 0), ["198.51.100.1"], "unknown"),
        (("testclient", 5000), ["198.51.100.1"], "unknown"),
    ],
)
async def test_an_address_is_believed_only_from_a_trusted_proxy(client, forwarded: list[str], who: str) -> None:
    """The right-most entry that no trusted proxy stands behind."""
    assert await peer(client, *forwarded) == who


async def test_without_trusted_proxies_nothing_is_believed() -> None:
    """500 forged headers are one caller."""
    draw = random.Random(1)
    forged = [f"{draw.randrange(256)}.{draw.randrange(256)}.1.1" for _ in range(500)]
    assert {await peer(("203.0.113.9", 5000), address, trusted=()) for address in forged} == {"203.0.113.9"}


@pytest.mark.parametrize(
    "forwarded",
    ["6.6.6.6", "5.6.7.8, ::1", "6.6.6.6, 127.0.0.1", "6.6.6.6:77, ::1, 127.0.0.1", "[2001:db8::1]:9", "word, ::1"],
)
@pytest.mark.parametrize("local", ["127.0.0.1", "::1"])
async def test_what_the_server_believed_of_this_machine_is_not_believed(forwarded: str, local: str) -> None:
    """uvicorn's own layer, as `uvicorn conduit.api.app:app` puts it in front: who is on this machine is no proxy that
    anybody has named."""
    for trusted in ((), parsed_networks("10.0.0.0/8")):
        assert await behind_uvicorn(local, forwarded, trusted) in {"127.0.0.1", "::/64"}


async def test_what_the_server_believed_of_a_named_proxy_is_believed() -> None:
    for forwarded in ("6.6.6.6", "1.1.1.1, 6.6.6.6", "6.6.6.6, 127.0.0.1"):
        assert await behind_uvicorn("127.0.0.1", forwarded, parsed_networks("127.0.0.1")) == "6.6.6.6"


async def behind_uvicorn(client: str, forwarded: str, trusted: Any) -> str:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(peer_of(scope))

    believed = uvicorn.Config(app, log_config=None).forwarded_allow_ips
    layers = ProxyHeadersMiddleware(TrustedProxies(app, trusted), believed)  # type: ignore[arg-type]
    headers = [(b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "client": (client, 5000), "headers": headers, "scheme": "http"}
    await layers(scope, nothing, nothing)  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize(
    ("client", "proto", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("::ffff:10.0.0.1", "https", "https"),
        ("10.0.0.1", "gopher", "http"),
        ("10.0.0.1", None, "http"),
        ("203.0.113.9", "https", "http"),
        ("::1", "https", "http"),
    ],
)
async def test_a_scheme_is_a_proxys_word_only_when_the_proxy_is_trusted(
    client: str, proto: str | None, scheme: str
) -> None:
    assert (await met((client, 5000), "198.51.100.1", proto=proto))[1] == scheme


ENTRIES = ["{}", "{}:0", "{}:77", "{}:+77", "{}: 7_7", "{}:x", "[{}]", "[{}]:77", "[{}]x", "[{}", " {} "]
TAILS = ["", ",127.0.0.1", ", 127.0.0.1:9", ",[127.0.0.1]", ", [127.0.0.1]:9, 127.0.0.1", ",127.0.0.1" * 100]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("entry", ENTRIES)
async def test_uvicorns_own_layer_lets_nobody_choose_an_address(entry: str, tail: str) -> None:
    """Whatever it makes of a local caller's header."""
    seen = set()
    for n in range(1, 60):
        for host in (f"6.6.6.{n}", f"2001:db8:{n:x}::1", f"127.0.0.1{n}", f"word{n}"):
            seen.add(await behind_uvicorn("127.0.0.1", entry.format(host) + tail, ()))
    assert seen <= {"127.0.0.1", "unknown"}


async def test_a_caller_who_forges_his_own_address_gains_nothing() -> None:
    """He cannot lead the walk elsewhere."""
    for forged in (
        "203.0.113.9:5000",
        "8.8.8.8, 203.0.113.9",
        "203.0.113.9, 8.8.8.8",
        "8.8.8.8, 203.0.113.9, 127.0.0.1",
    ):
        assert await peer(("203.0.113.9", 5000), forged) == "203.0.113.9"


async def test_a_block_of_ipv6_is_one_peer() -> None:
    """Whoever has one address of it has 2**64."""
    assert (
        await peer(("2001:db8:1:2::5", 1), trusted=()) == await peer(("2001:db8:1:2:ffff::9", 1)) == "2001:db8:1:2::/64"
    )
    assert await peer(("2001:db8:1:3::5", 1)) == "2001:db8:1:3::/64"
    assert await peer(("fe80::1%eth0", 1)) == "fe80::/64"


async def test_a_long_list_is_read_from_its_right_end() -> None:
    """And not to its left one."""
    assert await peer(("10.0.0.1", 1), ",".join(["6.6.6.6"] * 5000 + ["8.8.8.8"] + ["10.0.0.2"] * 50)) == "8.8.8.8"


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy", "10.0.0.0/33", "::/129"])
def test_a_wrong_block_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parsed_networks(f"127.0.0.1,{wrong}")


def test_nothing_is_no_block() -> None:
    assert parsed_networks(" , ") == ()
