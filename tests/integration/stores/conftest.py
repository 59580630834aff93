"""Every ledger there is, each on an empty store of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from conduit.core.storage import Ledger
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.ledger import SqlLedger
from tests.support.pgbouncer import ABSENT, BINARY, WHOLE, pooler, through
from tests.support.postgres import Postgres, postgres, postgres_url

__all__ = ["postgres", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'conduit.db'}"
    given: str = request.getfixturevalue("postgres_url")
    return given


@pytest.fixture(scope="session")
def pooler_port(postgres: Postgres) -> Iterator[int]:
    if BINARY is None:
        pytest.skip(ABSENT)
    with pooler(postgres.url) as port:
        yield port


@pytest.fixture
def pooled_url(postgres_url: str, pooler_port: int) -> str:
    """Of the same database, by way of a transaction pooler."""
    return through(postgres_url, pooler_port)


@pytest.fixture(params=["memory", "sqlite", "postgresql", *(["pooler"] if WHOLE else [])])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    made: Ledger
    if request.param == "memory":
        made = MemoryLedger()
    elif request.param == "sqlite":
        made = SqlLedger(f"sqlite:///{tmp_path / 'conduit.db'}")
    else:
        made = SqlLedger(request.getfixturevalue("pooled_url" if request.param == "pooler" else "postgres_url"))
    await made.open()
    yield made
    await made.close()
