"""Where everything is kept: beside the ledger in its database, or in memory."""

from typing import NamedTuple

from conduit.core.storage import Answers, KeyStore, Ledger, Reservations, Secrets, SnapshotStore, SpendStore
from conduit.observability.tracing.instruments import trace_calls
from conduit.observability.tracing.spans import Tracer
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.answers import MemoryAnswers, SqlAnswers
from conduit.stores.sql.database import Database
from conduit.stores.sql.keys import MemoryKeyStore, SqlKeyStore
from conduit.stores.sql.reservations import MemoryReservations, SqlReservations
from conduit.stores.sql.secrets import MemorySecrets, SqlSecrets
from conduit.stores.sql.snapshots import MemorySnapshots, SqlSnapshots
from conduit.stores.sql.spend import MemorySpend, SqlSpend


class Stores(NamedTuple):
    """One backend's."""

    ledger: Ledger
    spend: SpendStore
    keys: KeyStore
    snapshots: SnapshotStore
    reservations: Reservations
    answers: Answers
    secrets: Secrets


def in_database(ledger: Ledger, database: Database) -> Stores:
    """`database` is the ledger's own."""
    d = database
    return Stores(
        ledger, SqlSpend(d), SqlKeyStore(d), SqlSnapshots(d), SqlReservations(d), SqlAnswers(d), SqlSecrets(d)
    )


def in_memory(ledger: Ledger | None = None) -> Stores:
    """Gone with the process; the ledger too, unless there is one."""
    return Stores(
        ledger or MemoryLedger(),
        MemorySpend(),
        MemoryKeyStore(),
        MemorySnapshots(),
        MemoryReservations(),
        MemoryAnswers(),
        MemorySecrets(),
    )


def trace_stores(stores: Stores, tracer: Tracer, *, system: str) -> None:
    """A span of each call that a request waits for."""
    ledger, keys, held, answers, spend = stores.ledger, stores.keys, stores.reservations, stores.answers, stores.spend
    read = (ledger.find, ledger.requested, ledger.recent, ledger.latest, ledger.taught, ledger.totals)
    trace_calls(ledger, tracer, system, ledger.append, *read)
    trace_calls(keys, tracer, system, keys.find, within="keys.")
    trace_calls(held, tracer, system, held.take, held.settle, within="reservations.")
    trace_calls(answers, tracer, system, answers.claim, answers.keep, answers.release, within="answers.")
    trace_calls(spend, tracer, system, spend.reserve, spend.settle, within="spend.")
