"""From the start of the process to its first 200 of /health/ready, with a ledger of many observations and without.

    python -m benchmarks.start [--observations 1000000] [--rounds 5]

Some hundred real decisions of the sandbox are multiplied within the database, each with its observations four times
over (as when feedback is revised), so that rows have their real size. The snapshot lies 5000 observations before the
end: the most that SNAPSHOT_EVERY leaves to be folded. Starts with an empty database (a migrated SQLite file) and with
the full one take turns; told are medians, the slowest, and the ratio of the medians.
"""

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from sqlalchemy import Connection, Table, text

from benchmarks.volume import filled
from conduit.routing.snapshot import opened, taken
from conduit.stores.sql import migrate
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.snapshots import SqlSnapshots
from conduit.stores.sql.tables import decisions, observations, outcomes
from tests.support.gateway import GatewayProcess
from tests.support.postgres import PostgresServer

REAL, BEHIND, AT_ONCE = 300, 5000, 20
TIMES = {decisions: 1, outcomes: 1, observations: 4}
HEADING = f"{'':11} {'observations':>12}  empty  full  slowest  full/empty"


def copied(connection: Connection, first: int, last: int) -> int:
    """Copies of the real entries, under names that sort after theirs; how many observations there are."""
    schema = migrate.schema_of(connection)
    of = f"{schema}." if schema else ""
    for table, times in TIMES.items():
        for _ in range(times):
            connection.execute(text(_copy(of, table)), {"first": first, "last": last})
    return _end(connection)


def _copy(of: str, table: Table) -> str:
    name = "id" if table is decisions else "decision_id"
    columns = [column.name for column in table.columns if column.name not in {"position", name}]
    return (
        "WITH RECURSIVE numbers(n) AS "
        "(SELECT CAST(:first AS INTEGER) UNION ALL SELECT n + 1 FROM numbers WHERE n < CAST(:last AS INTEGER)) "
        f"INSERT INTO {of}{table.name} ({name}, {', '.join(columns)}) "
        f"SELECT 'x' || {name} || '_' || CAST(n AS TEXT), {', '.join(columns)} "
        f"FROM {of}{table.name} CROSS JOIN numbers WHERE {name} < 'x'"
    )


async def grown(url: str, wanted: int) -> int:
    """The ledger of so many observations, and its snapshot near the end; how many there are."""
    await filled(url, REAL)
    ledger = SqlLedger(url)
    await ledger.open()
    first, there = 1, 0
    while there < wanted:
        last = first + AT_ONCE - 1
        there = await ledger.database.write(partial(copied, first=first, last=last), power_safe=False)
        first = last + 1
    store = SqlSnapshots(ledger.database)
    found = await store.newest()
    assert found is not None
    _, snapshot = found
    end = await ledger.database.read(_end)
    state = opened(snapshot, snapshot.recipe)
    moved = taken(state, snapshot.recipe, position=end - BEHIND, time_s=snapshot.time_s)
    await store.save(moved)
    await ledger.close()
    return there


def _end(connection: Connection) -> int:
    of = migrate.schema_of(connection)
    return int(connection.execute(text(f"SELECT max(position) FROM {f'{of}.' if of else ''}observations")).scalar_one())


def start_s(folder: Path, url: str) -> float:
    gateway = GatewayProcess(folder, env={"DATABASE_URL": url, "SANDBOX": "on"})
    begun_s = perf_counter()
    with gateway:
        return perf_counter() - begun_s


def compare(name: str, full: str, empty: Sequence[str], observed: int, folder: Path) -> None:
    times: dict[str, list[float]] = {"empty": [], "full": []}
    for number, nothing in enumerate(empty):
        times["empty"].append(start_s(folder / f"{name}-empty-{number}", nothing))
        times["full"].append(start_s(folder / f"{name}-full-{number}", full))
    one, other = (statistics.median(times[what]) for what in ("empty", "full"))
    print(
        f"{name:11} {observed:12}  {one:5.2f} {other:5.2f}  {max(times['full']):7.2f}  {other / one:10.2f}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"seconds to ready\n{HEADING}", flush=True)
    with tempfile.TemporaryDirectory() as name, PostgresServer() as server:
        folder, rounds = Path(name), range(options.rounds)
        url = f"sqlite:///{folder / 'full.db'}"
        observed = asyncio.run(grown(url, options.observations))
        empty = [f"sqlite:///{folder / f'empty-{number}.db'}" for number in rounds]
        for each in empty:
            asyncio.run(made(each))
        compare("SQLite", url, empty, observed, folder)
        observed = asyncio.run(grown(server.url, options.observations))
        compare("PostgreSQL", server.url, empty, observed, folder)


async def made(url: str) -> None:
    """Migrated before, so that the start is not the first one of all."""
    ledger = SqlLedger(url)
    await ledger.open()
    await ledger.close()


if __name__ == "__main__":
    main()
