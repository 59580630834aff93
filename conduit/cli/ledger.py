"""`conduit export`, `import` and `prune`: the ledger to a file, from one, and without what is old."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from pathlib import Path

from conduit.api.sources import read_environ, read_settings
from conduit.assemble import with_ledger
from conduit.assemble.conduit import Conduit
from conduit.cli.beliefs import with_beliefs
from conduit.cli.keys import seconds_of
from conduit.core.storage import Whole
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.present import SKEW_S
from conduit.gateway.learning.prune import Pruned, prune
from conduit.routing.errors import ConfigurationError
from conduit.stores.files.jsonl import Sink, lines_from, lines_to
from conduit.stores.files.parquet import parquet_from, parquet_to
from conduit.stores.sql.archive import SqlArchive
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.pruning import SqlPruning

AT_ONCE = 50
"""Decisions: one that was written with all that fits may have some 2 MB."""
KINDS = ("decision", "outcome", "feedback", "observation")
SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


def export(path: Path, *, force: bool) -> None:
    """Written beside its place and then put there: a file of that name is always whole."""
    kind = suffix_of(path)
    if path.exists() and not force:
        raise ConfigurationError(f"{path}: is there already; name another file, or say --force")
    beside = path.with_name(f".{path.name}.part{kind}")

    async def written(ledger: SqlLedger) -> Counter[str]:
        with _sink(beside, kind) as sink:
            return await _copied(SqlArchive(ledger.database), sink)

    try:
        found = asyncio.run(with_ledger(read_settings(read_environ()), written))
        beside.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    print(f"{path}: {counted(found)}")  # noqa: T201


def take_in(path: Path) -> None:
    """Read twice: nothing of a file is written in which a line is wrong. The same file again changes nothing, and after
    an interruption goes on."""
    latest_s = max((time_s for whole in _read(path) for time_s in _times(whole)), default=0.0)

    async def taken(ledger: SqlLedger) -> tuple[int, Counter[str]]:
        archive, new, seen = SqlArchive(ledger.database), Counter[str](), 0
        for wholes in _batches(_read(path)):
            new.update(await archive.merge(wholes))
            seen += len(wholes)
        return seen, new

    seen, new = asyncio.run(with_ledger(read_settings(read_environ()), taken))
    print(f"{path}: {seen} decisions read; new: {counted(new)}")  # noqa: T201
    if latest_s > time.time() + SKEW_S:
        said = "what lies in the future counts as of today: a clock was ahead where it was written, or is behind here"
        print(f"{path}: {said}", file=sys.stderr)  # noqa: T201


def remove_old(*, older_than: str, forget: bool, wait: str) -> None:
    settings = read_settings(read_environ())
    before_s, wait_s = time.time() - seconds_of(older_than, "--older-than"), seconds_of(wait, "--wait")
    if settings.snapshot_every == 0 and not forget:
        raise ConfigurationError(
            "SNAPSHOT_EVERY is 0: no snapshot would keep what these decisions taught; set it, or say --forget, "
            "after which beliefs lack it from the next start on"
        )

    async def pruned(ledger: SqlLedger, follower: Follower | None = None) -> Pruned:
        return await prune(SqlPruning(ledger.database), follower, before_s=before_s, wait_s=wait_s)

    async def kept(conduit: Conduit) -> Pruned:
        return await with_ledger(settings, partial(pruned, follower=conduit.follower))

    found = asyncio.run(with_ledger(settings, pruned)) if forget else with_beliefs(kept)
    said = "what they taught is forgotten" if found.position is None else "what they taught is kept"
    print(f"{found.decisions} decisions removed, with all that became of them; {said}")  # noqa: T201


def counted(found: Counter[str]) -> str:
    return ", ".join(f"{found[kind]} {kind}{'' if kind == 'feedback' else 's'}" for kind in KINDS)


def suffix_of(path: Path) -> str:
    """Raises ConfigurationError."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise ConfigurationError(f"{path}: the name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


async def _copied(archive: SqlArchive, sink: Sink) -> Counter[str]:
    found, after = Counter[str](), ""
    while page := await archive.page(after=after, limit=AT_ONCE):
        sink.put(page)
        after = page[-1].decision.id
        found.update(
            decision=len(page),
            outcome=sum(each.outcome is not None for each in page),
            feedback=sum(len(each.feedback) for each in page),
            observation=sum(len(each.observations) for each in page),
        )
    return found


def _sink(path: Path, suffix: str) -> AbstractContextManager[Sink]:
    return parquet_to(path) if suffix == ".parquet" else lines_to(path)


def _read(path: Path) -> Iterator[Whole]:
    return parquet_from(path) if suffix_of(path) == ".parquet" else lines_from(path)


def _times(whole: Whole) -> Iterator[float]:
    yield whole.decision.time_s
    yield from (observation.time_s for observation in whole.observations)


def _batches(wholes: Iterator[Whole]) -> Iterator[Sequence[Whole]]:
    while batch := list(islice(wholes, AT_ONCE)):
        yield batch
