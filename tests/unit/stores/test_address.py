"""DATABASE_URL is read as people write it, and never quoted."""

from pathlib import Path

import pytest

from conduit.routing.errors import ConfigurationError
from conduit.stores.sql.address import File, Server, address


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///conduit.db", "conduit.db"),
        ("sqlite:///data/conduit.db?mode=rwc", "data/conduit.db"),
        ("sqlite:////var/lib/conduit.db", "/var/lib/conduit.db"),
        ("sqlite+aiosqlite:///my%20file.db", "my file.db"),
    ],
)
def test_an_sqlite_url_names_a_file(url: str, path: str) -> None:
    assert address(url) == File(Path(path))


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+asyncpg://u:p%40%2F%3A%25@h:6543/d", "postgresql://u:p%40%2F%3A%25@h:6543/d"),
        ("postgresql://u:p@h/d?sslmode=require&pgbouncer=true", "postgresql://u:p@h/d?sslmode=require"),
        ("postgresql://h1:5432,h2:5432/d", "postgresql://h1:5432,h2:5432/d"),
        ("postgresql:///d?host=/var/run/postgresql", "postgresql:///d?host=%2Fvar%2Frun%2Fpostgresql"),
    ],
)
def test_a_postgresql_url_goes_to_the_driver_without_what_belongs_to_other_drivers(url: str, dsn: str) -> None:
    assert address(url) == Server(dsn)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "conduit.db",
        "mysql://u:hunter2@h/d",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://hunter2/conduit.db",
        "postgresql://u:hunter2/x@h/d",
        "postgresql://u:hunter2?x@h/d",
        "postgresql://u:hunter2#x@h/d",
        "postgresql://u:hunter2[x@h/d",
        "postgresql://u:p@h:hunter2/d",
    ],
)
def test_what_cannot_be_read_is_a_mistake_with_a_remedy(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL .* percent-encoded$") as caught:
        address(url)
    assert "hunter2" not in repr(caught.value)


def test_a_server_shows_its_host_and_no_more() -> None:
    server = address("postgresql://u:hunter2@db.example/d?password=hunter2")
    assert str(server) == repr(server) == "the database at db.example"


@pytest.mark.parametrize(
    ("host", "query", "kept", "ignored"),
    [
        ("Supabase, its pooler", "pgbouncer=true&connection_limit=1", "", ("pgbouncer", "connection_limit")),
        ("Supabase at Vercel", "sslmode=require&supa=base-pooler.x", "sslmode=require", ("supa",)),
        ("Neon", "sslmode=require&channel_binding=require", "sslmode=require", ("channel_binding",)),
        ("Neon without SNI", "options=endpoint%3Dep-x", "options=endpoint%3Dep-x", ()),
        ("Heroku", "", "", ()),
        ("Heroku, for Node", "ssl=true", "sslmode=require", ()),
        ("Heroku, for Node, unchecked", "sslmode=no-verify", "sslmode=require", ()),
        ("RDS", "sslmode=verify-full&sslrootcert=x.pem", "sslmode=verify-full&sslrootcert=x.pem", ()),
        ("Prisma", "schema=public&pool_timeout=5", "", ("schema", "pool_timeout")),
        ("SQLAlchemy", "pool_size=20&max_overflow=0", "", ("pool_size", "max_overflow")),
        ("libpq", "gssencmode=disable&keepalives=1", "", ("gssencmode", "keepalives")),
        ("Java", "prepareThreshold=0", "", ("prepareThreshold",)),
        ("ours", "application_name=me&statement_timeout=5", "application_name=me&statement_timeout=5", ()),
    ],
)
def test_what_hosts_hand_out_is_taken(host: str, query: str, kept: str, ignored: tuple[str, ...]) -> None:
    found = address(f"postgresql://u:p@h/d?{query}")
    assert found == Server(f"postgresql://u:p@h/d{'?' if kept else ''}{kept}")
    assert found.ignored == ignored


@pytest.mark.parametrize(
    ("query", "named", "remedy"),
    [
        ("sslaccept=strict", "sslaccept", "sslmode=verify-full"),
        ("sslmode=strict", "sslmode", "verify-full"),
        ("ssl=perhaps", "ssl", "require"),
        ("gssencmode=require", "gssencmode", "sslmode"),
        ("require_auth=scram-sha-256", "require_auth", "take it out"),
    ],
)
def test_what_would_be_less_safe_than_it_says_is_refused(query: str, named: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^DATABASE_URL: {named} ?.*{remedy}|{named}=.*{remedy}"):
        address(f"postgresql://u:p@h/d?{query}")
