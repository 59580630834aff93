"""DATABASE_URL, as people write it, read into what a driver wants."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from conduit.core.errors import ConfigurationError

REMEDY = "use sqlite:///conduit.db or postgresql://user:password@host:5432/database, special characters percent-encoded"
FOREIGN = frozenset({"pgbouncer", "connection_limit", "pool_timeout", "connect_timeout", "channel_binding", "schema"})
"""Parameters that hosts put into the URLs which they hand out, but that belong to other drivers."""


@dataclass(frozen=True, slots=True)
class File:
    """An SQLite database."""

    path: Path

    def __str__(self) -> str:
        return f"the file {self.path}"


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """A PostgreSQL database. Only its driver reads the password."""

    dsn: str

    def __str__(self) -> str:
        return f"the database at {urlsplit(self.dsn).hostname or 'localhost'}"

    __repr__ = __str__


def address(url: str) -> File | Server:
    """Raises ConfigurationError, which never quotes the URL."""
    scheme, _, rest = url.partition("://")
    family = scheme.partition("+")[0]
    if family == "sqlite":
        return _file(rest)
    if family in {"postgresql", "postgres"}:
        return _server(rest)
    raise ConfigurationError(f"DATABASE_URL is of no kind that is known: {REMEDY}")


def _file(rest: str) -> File:
    host, _, path = rest.partition("/")
    path = unquote(path.partition("?")[0])
    if host or path in {"", ":memory:"}:
        raise ConfigurationError(f"DATABASE_URL names no file: {REMEDY}")
    return File(Path(path))


def _server(rest: str) -> Server:
    try:
        parts = urlsplit(f"postgresql://{rest}")
        if "," not in parts.netloc:  # several hosts have a port each
            _ = parts.port
    except ValueError:
        raise ConfigurationError(f"DATABASE_URL cannot be read: {REMEDY}") from None
    if "@" in parts.path + parts.query + parts.fragment:  # a raw / ? or # broke the password in two
        raise ConfigurationError(f"DATABASE_URL cannot be read: {REMEDY}")
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in FOREIGN])
    return Server(f"postgresql://{parts.netloc}{parts.path}{'?' if query else ''}{query}")
