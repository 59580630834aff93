"""DATABASE_URL is read as people write it, and never quoted."""

from pathlib import Path

import pytest

from conduit.core.errors import ConfigurationError
from conduit.stores.address import File, Server, address


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
