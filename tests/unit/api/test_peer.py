"""Who is at the other end."""

import random

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from conduit.api.peer import peer_of
from conduit.core.networks import parsed_networks

PROXIES = parsed_networks("10.0.0.0/8, 127.0.0.1, fd00::/8")


def peer(client, *forwarded: str, trusted=PROXIES) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return peer_of({"client": client, "headers": headers}, trusted)


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
        (("10.0.0.1", 5000), ["6.6.6.6, nonsense"], "10.0.0.1"),
        (("10.0.0.1", 5000), ["6.6.6.6, \xff, 10.0.0.2"], "10.0.0.2"),
        (("10.0.0.1", 5000), ["", ",,"], "10.0.0.1"),
        (("::ffff:10.0.0.1", 5000), ["198.51.100.1"], "198.51.100.1"),
        (("::ffff:203.0.113.9", 5000), ["198.51.100.1"], "203.0.113.9"),
        (("fd00::1", 5000), ["198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], "unknown"),
        (("", 0), ["198.51.100.1"], "unknown"),
        (("testclient", 5000), ["198.51.100.1"], "unknown"),
    ],
)
def test_an_address_is_believed_only_from_a_trusted_proxy(client, forwarded: list[str], who: str) -> None:
    """The right-most entry that no trusted proxy stands behind."""
    assert peer(client, *forwarded) == who


def test_without_trusted_proxies_nothing_is_believed() -> None:
    """500 forged headers are one caller."""
    draw = random.Random(1)
    forged = [f"{draw.randrange(256)}.{draw.randrange(256)}.1.1" for _ in range(500)]
    assert {peer(("203.0.113.9", 5000), address, trusted=()) for address in forged} == {"203.0.113.9"}


def test_what_the_server_believed_is_not_believed() -> None:
    """uvicorn puts a forwarded address in the place of a local caller's, with port 0."""
    assert peer(("6.6.6.6", 0), "6.6.6.6", trusted=()) == "127.0.0.1"
    assert peer(("6.6.6.6", 0), "6.6.6.6", trusted=parsed_networks("10.0.0.0/8")) == "127.0.0.1"
    assert peer(("6.6.6.6", 0), "6.6.6.6") == "6.6.6.6"


ENTRIES = ["{}", "{}:0", "{}:77", "{}:+77", "{}: 7_7", "{}:x", "[{}]", "[{}]:77", "[{}]x", "[{}", " {} "]
TAILS = ["", ",127.0.0.1", ", 127.0.0.1:9", ",[127.0.0.1]", ", [127.0.0.1]:9, 127.0.0.1", ",127.0.0.1" * 100]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("entry", ENTRIES)
async def test_uvicorns_own_layer_lets_nobody_choose_an_address(entry: str, tail: str) -> None:
    """Whatever it makes of a local caller's header."""
    seen = set()

    async def app(scope, receive, send) -> None:
        seen.add(peer_of(scope, ()))

    for n in range(1, 60):
        for host in (f"6.6.6.{n}", f"2001:db8:{n:x}::1", f"127.0.0.1{n}", f"word{n}"):
            value = (entry.format(host) + tail).encode()
            scope = {"type": "http", "client": ("127.0.0.1", 5000), "headers": [(b"x-forwarded-for", value)]}
            await ProxyHeadersMiddleware(app)(scope, None, None)
    assert seen <= {"127.0.0.1", "unknown"}


def test_a_caller_who_forges_his_own_address_gains_nothing() -> None:
    """He cannot lead the walk elsewhere."""
    for forged in (
        "203.0.113.9:5000",
        "8.8.8.8, 203.0.113.9",
        "203.0.113.9, 8.8.8.8",
        "8.8.8.8, 203.0.113.9, 127.0.0.1",
    ):
        assert peer(("203.0.113.9", 5000), forged) == "203.0.113.9"


def test_a_block_of_ipv6_is_one_peer() -> None:
    """Whoever has one address of it has 2**64."""
    assert peer(("2001:db8:1:2::5", 1), trusted=()) == peer(("2001:db8:1:2:ffff::9", 1)) == "2001:db8:1:2::/64"
    assert peer(("2001:db8:1:3::5", 1)) == "2001:db8:1:3::/64"
    assert peer(("fe80::1%eth0", 1)) == "fe80::/64"


def test_a_long_list_is_read_from_its_right_end() -> None:
    """And not to its left one."""
    assert peer(("10.0.0.1", 1), ",".join(["6.6.6.6"] * 5000 + ["8.8.8.8"] + ["10.0.0.2"] * 50)) == "8.8.8.8"


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy", "10.0.0.0/33", "::/129"])
def test_a_wrong_block_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parsed_networks(f"127.0.0.1,{wrong}")


def test_nothing_is_no_block() -> None:
    assert parsed_networks(" , ") == ()
