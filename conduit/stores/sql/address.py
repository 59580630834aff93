"""DATABASE_URL, as people write it, read into what a driver wants."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from conduit.routing.errors import ConfigurationError

REMEDY = "use sqlite:///conduit.db or postgresql://user:password@host:5432/database, special characters percent-encoded"
_DRIVERS = """
host port dbname database user password passfile service sslmode sslcert sslkey sslrootcert sslcrl sslpassword
sslnegotiation ssl_min_protocol_version ssl_max_protocol_version target_session_attrs krbsrvname gsslib
"""
_OF_OTHERS = """
pgbouncer connection_limit connect_timeout pool_timeout pool_size max_overflow pool_recycle pool_pre_ping
pool_min_conns pool_max_conns min_size max_size max_connections socket_timeout schema channel_binding gssencmode
gssdelegation sslcompression sslsni sslcertmode keepalives keepalives_idle keepalives_interval keepalives_count
tcp_user_timeout client_encoding charset load_balance_hosts min_protocol_version max_protocol_version
statement_cache_size prepared_statement_cache_size prepared_statements preparethreshold fallback_application_name
uselibpqcompat supa workaround
"""
DRIVERS = frozenset(_DRIVERS.split())
"""Parameters that our driver reads."""
IGNORED = frozenset(_OF_OTHERS.split())
"""Parameters of other drivers and pools, which hosts put into the URLs that they hand out. None of them says whom to
trust: those that do are refused where they cannot be kept."""
REFUSED = {
    "sslaccept": "say sslmode=verify-full for strict, sslmode=require for accept_invalid_certs",
    "sslidentity": "say sslcert=... and sslkey=... with files of PEM",
    "require_auth": "take it out: our driver cannot promise it",
    "requiressl": "say sslmode=require",
    "sslfactory": "say sslmode=verify-full or sslmode=require",
}
"""Parameter -> what to write in its place."""
SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
SSL_WORDS = {"true": "require", "1": "require", "no-verify": "require", "false": "disable", "0": "disable"}
"""What others say for one of SSL_MODES; `ssl=true` is theirs for it."""


@dataclass(frozen=True, slots=True)
class File:
    """An SQLite database."""

    path: Path
    ignored: tuple[str, ...] = field(default=(), compare=False)
    """Names of parameters that do nothing."""

    def __str__(self) -> str:
        return f"the file {self.path}"


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """A PostgreSQL database. Only its driver reads the password."""

    dsn: str
    ignored: tuple[str, ...] = field(default=(), compare=False)
    passed_on: tuple[str, ...] = field(default=(), compare=False)
    """Names of parameters that the server itself is to know."""

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
    path, _, query = path.partition("?")
    path = unquote(path)
    if host or path in {"", ":memory:"}:
        raise ConfigurationError(f"DATABASE_URL names no file: {REMEDY}")
    return File(Path(path), tuple(name for name, _ in parse_qsl(query)))


def _server(rest: str) -> Server:
    try:
        parts = urlsplit(f"postgresql://{rest}")
        if "," not in parts.netloc:  # several hosts have a port each
            _ = parts.port
    except ValueError:
        raise ConfigurationError(f"DATABASE_URL cannot be read: {REMEDY}") from None
    if "@" in parts.path + parts.query + parts.fragment:  # a raw / ? or # broke the password in two
        raise ConfigurationError(f"DATABASE_URL cannot be read: {REMEDY}")
    given = [_parameter(name, value) for name, value in parse_qsl(parts.query)]
    query = urlencode([(name, value) for name, value in given if name.lower() not in IGNORED])
    names = [name for name, _ in given if name not in DRIVERS]
    return Server(
        f"postgresql://{parts.netloc}{parts.path}{'?' if query else ''}{query}",
        tuple(name for name in names if name.lower() in IGNORED),
        tuple(name for name in names if name.lower() not in IGNORED),
    )


def _parameter(name: str, value: str) -> tuple[str, str]:
    """As our driver reads it. Raises ConfigurationError for what would be less safe than it says."""
    if name.lower() in REFUSED:
        raise ConfigurationError(f"DATABASE_URL: {name} is not known here; {REFUSED[name.lower()]}")
    if name == "gssencmode" and value == "require":
        raise ConfigurationError("DATABASE_URL: gssencmode=require cannot be kept here; say sslmode=verify-full")
    if name in {"ssl", "sslmode"}:
        mode = SSL_WORDS.get(value.lower(), value)
        if mode not in SSL_MODES:
            raise ConfigurationError(f"DATABASE_URL: {name} must be one of {', '.join(sorted(SSL_MODES))}")
        return "sslmode", mode
    return name, value
