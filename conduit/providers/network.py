"""How a provider is reached: through which proxy, trusting whose certificates, showing which."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from yarl import URL

from conduit.routing.errors import ConfigurationError

DIRECT_HOSTS = frozenset({"localhost", "localhost."})


@dataclass(frozen=True, slots=True)
class Network:
    """Of one provider. Connections of two that are equal may be shared."""

    proxy: str | None = field(default=None, repr=False)
    """It may hold a password."""
    ca_file: str = ""
    """Certificates that are trusted, in the place of the system's; empty: the system's."""
    ca_folder: str = ""
    """More of these, as `openssl rehash` lays them out."""
    client_cert: str = ""
    """Shown to a server that asks for one, a PEM file; it may hold the key, too."""
    client_key: str = ""

    def tls(self, place: str = "providers", *, ca_place: str = "") -> ssl.SSLContext | None:
        """None: as always. Raises ConfigurationError that names the field below `place`, or `ca_place`."""
        if not (self.ca_file or self.client_cert):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None, capath=self.ca_folder or None)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{ca_place or f'{place}.ca_file'}: {_why(self.ca_file, error)}") from None
        if self.client_cert:
            self._show(context, place)
        return context

    def _show(self, context: ssl.SSLContext, place: str) -> None:
        try:
            # The empty password fails where OpenSSL would ask a terminal for one.
            context.load_cert_chain(self.client_cert, self.client_key or None, password="")
        except (OSError, ValueError) as error:
            wrong = "client_key" if self.client_key and Path(self.client_cert).is_file() else "client_cert"
            name = self.client_key if wrong == "client_key" else self.client_cert
            raise ConfigurationError(f"{place}.{wrong}: {_why(name, error)}") from None


SYSTEMS = Network()
"""No proxy, and the certificates of the system."""


def network(
    environ: Mapping[str, str],
    base: URL,
    *,
    proxy: str | None = None,
    ca_file: str = "",
    client_cert: str = "",
    client_key: str = "",
    place: str,
) -> Network:
    """What is declared wins over the environment; a `proxy` of "" is none. Raises ConfigurationError."""
    if client_key and not client_cert:
        raise ConfigurationError(f"{place}.client_key: needs client_cert, the certificate that it belongs to")
    if proxy is None:
        through = _from_environment(environ, base)
    else:
        through = checked_proxy(proxy, place=f"{place}.proxy") if proxy else None
    systems = environ.get("SSL_CERT_FILE", "") if base.scheme == "https" else ""
    folder = environ.get("SSL_CERT_DIR", "") if systems and not ca_file else ""
    made = Network(through, ca_file or systems, folder, client_cert, client_key)
    made.tls(place, ca_place="" if ca_file else "SSL_CERT_FILE")
    return made


def checked_proxy(text: str, *, place: str) -> str:
    """Raises ConfigurationError that does not repeat it: it may hold a password."""
    try:
        url = URL(text if "://" in text else f"http://{text}")
        host, port = url.host, url.port
    except ValueError:
        host, port, url = None, None, URL()
    if url.scheme.startswith("socks"):
        raise ConfigurationError(f"{place}: SOCKS is not spoken here; name an HTTP proxy, or the host in NO_PROXY")
    if url.scheme not in {"http", "https"} or not host or not port:
        raise ConfigurationError(f"{place}: is no address of a proxy; use http://host:port")
    return str(url)


def _from_environment(environ: Mapping[str, str], base: URL) -> str | None:
    """The proxy of this scheme, or the one of all; small letters win, as in curl."""
    for name in (f"{base.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            value = environ.get(variable, "").strip()
            if value:
                return None if _is_direct(environ, base) else checked_proxy(value, place=variable)
    return None


def _is_direct(environ: Mapping[str, str], base: URL) -> bool:
    """This machine is never asked through a proxy, which would look for it at its own place."""
    host, port = (base.host or "").rstrip("."), base.port
    if host in DIRECT_HOSTS or host.endswith(".localhost") or (_is_address(host) and ip_address(host).is_loopback):
        return True
    listed = environ.get("no_proxy", "") or environ.get("NO_PROXY", "")
    return any(_covers(entry.strip().lower(), host.lower(), port) for entry in listed.replace(" ", ",").split(","))


def _covers(entry: str, host: str, port: int | None) -> bool:
    """An entry is *, an address, a block of addresses, or a domain with all below it; a port narrows it."""
    if entry == "*":
        return True
    if not entry:
        return False
    if _is_address(host):
        return _covers_address(entry, host, port)
    name, colon, wanted = entry.partition(":")
    name = name.removeprefix("*").strip(".")
    return (not colon or wanted == str(port)) and bool(name) and (host == name or host.endswith(f".{name}"))


def _covers_address(entry: str, host: str, port: int | None) -> bool:
    bare, _, wanted = entry.rpartition(":") if entry.count(":") == 1 or "]:" in entry else (entry, "", "")
    try:
        block = ip_network(bare.strip("[]"), strict=False)
    except ValueError:
        return False
    return (not wanted or wanted == str(port)) and ip_address(host) in block


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _why(name: str, error: Exception) -> str:
    """Never a driver's text beyond the one word that helps."""
    if isinstance(error, FileNotFoundError):
        return f"there is no file {name}"
    if isinstance(error, PermissionError):
        return f"{name} may not be read"
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder"
    return f"{name} does not hold what it should: PEM, without a password, and a key that fits its certificate"
