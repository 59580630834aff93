"""Every ledger there is, each on an empty store of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit.core.storage import Ledger
from conduit.stores.memory import MemoryLedger
from conduit.stores.sql import SqlLedger
from tests.support.postgres import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'conduit.db'}"
    given: str = request.getfixturevalue("postgres_url")
    return given


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    made: Ledger
    if request.param == "memory":
        made = MemoryLedger()
    elif request.param == "sqlite":
        made = SqlLedger(f"sqlite:///{tmp_path / 'conduit.db'}")
    else:
        made = SqlLedger(request.getfixturevalue("postgres_url"))
    await made.open()
    yield made
    await made.close()
