"""Bytes of the ledger for each decision, in SQLite and PostgreSQL, by table with its indexes.

    python -m benchmarks.volume [--requests 2000] [--prompt-text hashed] [--characters 0]

Requests go to the sandbox's five models in process; every third answer is rated. Each decision has its context, its
five candidates with their beliefs, an outcome and an observation, a rated one a feedback and another observation.
Prompts are those of the demo, or as many of them as make up `--characters`. SQLite's figures are of pages (dbstat),
after the write-ahead log was taken in; PostgreSQL's of its files.
"""

import argparse
import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, text

from conduit.assemble import assemble
from conduit.bench.prompts import prompts
from conduit.core.config import make_settings
from conduit.gateway.request.exchange import Ask
from conduit.routing.query import Query
from conduit.stores.sql.ledger import SqlLedger
from tests.support.postgres import PostgresServer

AT_ONCE = 16
TABLES = ("decisions", "outcomes", "feedback", "observations", "days", "snapshots")


SETTINGS = {"sandbox": "on", "sandbox_time_scale": 0.0, "seed": 1, "spool_after_s": 15.0, "snapshot_every": 100}


def asked(characters: int) -> Iterator[str]:
    """Prompts of at least so many."""
    texts = prompts(seed=1)
    while True:
        text = next(texts)
        while len(text) < characters:
            text = f"{text} {next(texts)}"
        yield text


async def filled(url: str, requests: int, prompt_text: str = "hashed", characters: int = 0) -> None:
    """A ledger with so many decisions."""
    more = {"database_url": url, "prompt_text": prompt_text}
    conduit = await assemble(make_settings(file={**SETTINGS, **more}, environ={}), {})
    await conduit.start()
    texts = asked(characters)

    async def one(number: int, text: str) -> None:
        body: dict[str, object] = {"messages": [{"role": "user", "content": text}]}
        done = await conduit.gateway.complete(Ask(Query(text), body))
        if number % 3 == 0:
            await conduit.settler.settle(done.decision.id, {"quality_score": 0.5})

    for start in range(0, requests, AT_ONCE):
        several = range(start, min(start + AT_ONCE, requests))
        await asyncio.gather(*(one(number, next(texts)) for number in several))
    await conduit.follower.catch_up()
    await conduit.stop()


def in_sqlite(path: Path) -> dict[str, float]:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        owners = dict(connection.execute("SELECT name, tbl_name FROM sqlite_master"))
        sizes = connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall()
    found: dict[str, float] = {}
    for name, size in sizes:
        owner = owners.get(name, name)
        found[owner] = found.get(owner, 0.0) + size
    return found


async def in_postgresql(url: str) -> dict[str, float]:
    ledger = SqlLedger(url)
    await ledger.open()

    def sizes(connection: Connection) -> dict[str, float]:
        statement = "SELECT pg_total_relation_size('conduit.' || :name)"
        return {name: float(connection.execute(text(statement), {"name": name}).scalar_one()) for name in TABLES}

    found = await ledger.database.read(sizes)
    await ledger.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--prompt-text", default="hashed", choices=["off", "hashed", "full"])
    parser.add_argument("--characters", type=int, default=0)
    given = parser.parse_args()
    n: int = given.requests
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        path = Path(folder) / "conduit.db"
        asyncio.run(filled(f"sqlite:///{path}", n, given.prompt_text, given.characters))
        asyncio.run(filled(server.url, n, given.prompt_text, given.characters))
        columns = {"SQLite": in_sqlite(path), "PostgreSQL": asyncio.run(in_postgresql(server.url))}
    texts = asked(given.characters)
    size = sum(len(next(texts).encode()) for _ in range(n)) / n
    print(f"PROMPT_TEXT={given.prompt_text}; a prompt has {size:.0f} bytes in the mean")
    print(f"bytes a decision, of {n}\n{'':13}" + "".join(f"{name:>12}" for name in columns))
    kept = [name for name in TABLES if name not in {"snapshots", "days"}]
    for table in kept:
        print(f"{table:13}" + "".join(f"{found.get(table, 0.0) / n:12.0f}" for found in columns.values()))
    print(f"{'all':13}" + "".join(f"{sum(found.get(t, 0.0) for t in kept) / n:12.0f}" for found in columns.values()))
    for table in ("days", "snapshots"):
        print(f"{table:13}" + "".join(f"{found.get(table, 0.0) / 1024:9.0f} kB" for found in columns.values()))


if __name__ == "__main__":
    main()
