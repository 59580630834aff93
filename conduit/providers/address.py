"""Where a provider is asked, and with which headers: checked before the first request, the same for all of them."""

import re
from collections.abc import Iterable

from yarl import URL

from conduit.routing.errors import ConfigurationError

Pairs = Iterable[tuple[str, str]]

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[ -~\t]*")
KEY = re.compile(r"[!-~]*")
OURS = frozenset({"content-length", "transfer-encoding", "connection"})
"""Headers that belong to the connection: one of the operator's would break every request."""


def base_of(base_url: str, query: Pairs = (), *, place: str = "base_url of a provider") -> URL:
    """Raises ConfigurationError that names the `place`, and does not repeat the address: it may hold a password."""
    try:
        url = URL(base_url.rstrip("/"))
        host, _ = url.host, url.port
    except ValueError:
        raise ConfigurationError(f"{place}: is not a URL; use https://host/v1") from None
    if url.scheme not in {"http", "https"} or not host or re.search(r"\s", base_url):
        raise ConfigurationError(f"{place}: is not a full URL; use http://host/v1 or https://host/v1")
    if url.raw_fragment:
        raise ConfigurationError(f"{place}: has a fragment, which is never sent; leave out # and what follows")
    if url.port == 0:
        raise ConfigurationError(f"{place}: port 0 is none")
    return url.extend_query(list(query))


def headers_of(base: URL, api_key: str | None, more: Pairs = ()) -> dict[str, str]:
    """Of every request to it, in small letters; a declared Authorization takes the place of the key's."""
    headers = {"content-type": "application/json"} | {name.lower(): value for name, value in more}
    key = (api_key or "").strip()
    if key and base.user is None:
        headers.setdefault("authorization", f"Bearer {key}")
    check_headers(headers.items(), place="api_key or headers of a provider")
    return headers


def check_headers(pairs: Pairs, *, place: str) -> None:
    """Raises ConfigurationError that names the header, and not its value: it may be a secret."""
    for name, value in pairs:
        if TOKEN.fullmatch(name) is None:
            raise ConfigurationError(f"{place}: {name!r} is no name of a header: no blanks, no colon, only ASCII")
        if VALUE.fullmatch(value) is None:
            raise ConfigurationError(f"{place}: the value of {name} must be one line of printable ASCII")
        if name.lower() in OURS:
            raise ConfigurationError(f"{place}: {name} is set for each request; leave it out")


def checked_key(key: str | None, *, place: str) -> str | None:
    """Without what an editor or `echo` leaves around it. Raises ConfigurationError that does not repeat it."""
    key = (key or "").strip()
    if KEY.fullmatch(key) is None:
        raise ConfigurationError(f"{place}: the key holds a blank, a line break or a letter that is not ASCII")
    return key or None


def check_one_authorization(base: URL, key: str | None, headers: Pairs, *, address: str, key_place: str) -> None:
    """A request has one Authorization: a user in the address makes it as well as a key or a header does."""
    if base.user is None and base.password is None:
        return
    other = key_place if key else "its authorization header"
    if key or any(name.lower() == "authorization" for name, _ in headers):
        raise ConfigurationError(
            f"{address}: holds a user or a password, and {other} is given too; a request has one authorization: "
            "leave out one of them"
        )
