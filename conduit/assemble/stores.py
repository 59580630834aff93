"""Where everything is kept: beside the ledger in its database, or in memory."""

from conduit.core.storage import Answers, Holds, KeyStore, Ledger, Purse, Secrets, SnapshotStore
from conduit.stores.answers import MemoryAnswers, SqlAnswers
from conduit.stores.database import Database
from conduit.stores.holds import MemoryHolds, SqlHolds
from conduit.stores.keys import MemoryKeyStore, SqlKeyStore
from conduit.stores.memory import MemoryLedger
from conduit.stores.purse import MemoryPurse, SqlPurse
from conduit.stores.secrets import MemorySecrets, SqlSecrets
from conduit.stores.snapshots import MemorySnapshots, SqlSnapshots

Stores = tuple[Ledger, Purse, KeyStore, SnapshotStore, Holds, Answers, Secrets]


def in_database(ledger: Ledger, database: Database) -> Stores:
    """`database` is the ledger's own."""
    d = database
    return ledger, SqlPurse(d), SqlKeyStore(d), SqlSnapshots(d), SqlHolds(d), SqlAnswers(d), SqlSecrets(d)


def in_memory(ledger: Ledger | None = None) -> Stores:
    """Gone with the process; the ledger too, unless there is one."""
    ledger, snapshots, secrets = ledger or MemoryLedger(), MemorySnapshots(), MemorySecrets()
    return ledger, MemoryPurse(), MemoryKeyStore(), snapshots, MemoryHolds(), MemoryAnswers(), secrets
