"""Which proxy the environment means for an address, if any."""

import pytest
from yarl import URL

from conduit.providers.network import network
from conduit.routing.errors import ConfigurationError

PROXY = {"HTTPS_PROXY": "http://secure:1", "HTTP_PROXY": "http://plain:2"}


def proxy(environ: dict[str, str], url: str) -> str | None:
    return network(environ, URL(url), place="providers.lab").proxy


@pytest.mark.parametrize(
    ("environ", "url", "found"),
    [
        ({}, "https://a.example/v1", None),
        (PROXY, "https://a.example/v1", "http://secure:1"),
        (PROXY, "http://a.example/v1", "http://plain:2"),
        ({"ALL_PROXY": "all:3"}, "https://a.example/v1", "http://all:3"),
        (PROXY | {"ALL_PROXY": "http://all:3"}, "https://a.example/v1", "http://secure:1"),
        (PROXY | {"https_proxy": "http://small:4"}, "https://a.example/v1", "http://small:4"),
        ({"HTTPS_PROXY": " "}, "https://a.example/v1", None),
    ],
)
def test_the_proxy_of_the_scheme(environ: dict[str, str], url: str, found: str | None) -> None:
    assert proxy(environ, url) == found


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("a.example", "a.example", True),
        ("a.example", "b.a.example", True),
        (".a.example", "b.a.example", True),
        ("*.a.example", "b.a.example", True),
        ("A.Example", "a.example", True),
        ("a.example", "aa.example", False),
        ("other, a.example", "a.example", True),
        ("other a.example", "a.example", True),
        ("*", "a.example", True),
        ("a.example:8443", "a.example:8443", True),
        ("a.example:8443", "a.example", False),
        ("", "a.example", False),
        (",", "a.example", False),
        (".", "a.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", False),
        ("fd00::/8", "[fd00::1]", True),
        ("[fd00::1]:443", "[fd00::1]", True),
        ("a.example", "10.1.2.3", False),
        ("other", "localhost", True),
        ("other", "x.localhost", True),
        ("other", "127.0.0.9", True),
        ("other", "[::1]", True),
    ],
)
def test_who_is_asked_past_it(no_proxy: str, host: str, direct: bool) -> None:
    assert (proxy(PROXY | {"NO_PROXY": no_proxy}, f"https://{host}/v1") is None) is direct


def test_a_proxy_that_is_not_meant_for_it_may_be_anything() -> None:
    assert proxy({"HTTPS_PROXY": "socks5://h:1", "NO_PROXY": "a.example"}, "https://a.example/v1") is None
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: SOCKS"):
        proxy({"HTTPS_PROXY": "socks5://h:1"}, "https://a.example/v1")
