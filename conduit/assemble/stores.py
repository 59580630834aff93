"""Where everything is kept: beside the ledger in its database, or in memory."""

from typing import NamedTuple

from conduit.core.storage import Answers, KeyStore, Ledger, Reservations, Secrets, SnapshotStore, SpendStore
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
