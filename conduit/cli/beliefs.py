"""`conduit beliefs`: what is believed, to a file, from a file, and taken back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import orjson
from rich.console import Console
from rich.table import Table

from conduit.api.sources import read_environ, read_settings
from conduit.assemble import assemble, with_ledger
from conduit.assemble.conduit import Conduit
from conduit.cli.keys import SECONDS, seconds_of
from conduit.core.storage import Touched
from conduit.gateway.learning.rollback import Extent, Rollback
from conduit.gateway.stats.stats import recent
from conduit.routing.errors import ConfigurationError, InvalidRequest
from conduit.routing.shown import Belief, shown
from conduit.routing.snapshot import Unfit, taken
from conduit.routing.snapshot_file import from_file, to_file
from conduit.routing.system import SystemClock, TimeOrderedIds
from conduit.stores.sql.archive import SqlArchive
from conduit.stores.sql.keys import SqlKeyStore
from conduit.stores.sql.ledger import SqlLedger

LOOKED_AT = 200
"""Requests over which beliefs are averaged: beliefs differ from prompt to prompt."""
WHY = {
    "corrupt": "this is no file of beliefs, or it is damaged",
    "version": "it was written by another version of Conduit",
    "policy": "it was made by another policy (POLICY)",
    "features": "it was made with other features",
    "half-life": "it was made with another half-life (HALF_LIFE_DAYS)",
    "future": "it holds observations of a later time than now: a clock was ahead, there or here",
}
T = TypeVar("T")


def show(*, as_json: bool) -> None:
    beliefs = with_beliefs(_believed)
    if as_json:
        print(orjson.dumps([asdict(each) for each in beliefs], option=orjson.OPT_INDENT_2).decode())  # noqa: T201
        return
    Console(width=80).print(table_of(beliefs))


def export(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise ConfigurationError(f"{path}: is there already; name another file, or say --force")

    async def packed(conduit: Conduit) -> bytes:
        beliefs, position = conduit.router.beliefs, conduit.follower.position
        return to_file(taken(beliefs.state(), beliefs.recipe, position=position, time_s=conduit.clock.now_s()))

    content = with_beliefs(packed)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    print(f"{path}: {len(content)} bytes")  # noqa: T201


def take_in(path: Path) -> None:
    """Only where nothing was learned yet: it is where the fold begins."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None

    async def believed(conduit: Conduit) -> int:
        if conduit.follower.position or conduit.router.beliefs.folded:
            raise ConfigurationError(
                "this ledger has taught something already, which would be overwritten: import into an empty database, "
                "or take in the other gateway's ledger with `conduit import`, which adds"
            )
        assert conduit.follower.snapshots is not None
        await conduit.follower.snapshots.begin_with(from_file(content))
        return conduit.router.beliefs.folded

    try:
        folded = with_beliefs(believed)
    except Unfit as unfit:
        raise ConfigurationError(f"{path}: {WHY[unfit.why]}") from None
    print(f"{path}: beliefs of {folded} observations; gateways believe them from their next start on")  # noqa: T201


def rollback(*, to: str | None, without_key: str | None, yes: bool) -> None:
    if to is None and without_key is None:
        raise InvalidRequest("say what to take back: --to TIME, --without-key KEY, or both", param="to")
    since_s = None if to is None else moment(to, time.time())

    async def taken_back(ledger: SqlLedger) -> Extent:
        clock = SystemClock()
        found = Rollback(SqlArchive(ledger.database), ledger, clock=clock, ids=TimeOrderedIds(clock))
        touched = Touched(since_s, None if without_key is None else await _key_id(ledger, without_key))
        return await (found.run(touched) if yes else found.extent(touched))

    extent = asyncio.run(with_ledger(read_settings(read_environ()), taken_back))
    what = f"{extent.observations} observations and {extent.judgements} judgements of {extent.decisions} decisions"
    print(f"{what} were taken back" if yes else f"{what} would be taken back; say --yes to do it")  # noqa: T201


def moment(text: str, now_s: float) -> float:
    """Unix seconds of 2026-11-26T12:00 (UTC unless it says otherwise), or of 90s, 15m, 12h, 30d ago."""
    if text[-1:] in SECONDS and text[:-1].isdecimal():
        return now_s - seconds_of(text, "--to")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        said = f"--to: {text[:40]!r} is neither a time such as 2026-11-26T12:00 nor 90s, 15m, 12h or 30d ago"
        raise InvalidRequest(said, param="to") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def table_of(beliefs: Sequence[Belief]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("model", overflow="ellipsis", no_wrap=True, max_width=36)
    table.add_column("signal")
    for heading in ("observations", "mean", "width"):
        table.add_column(heading, justify="right")
    for each in beliefs:
        table.add_row(each.model, each.signal, f"{each.observations:.1f}", f"{each.mean:.4g}", f"{each.width:.2g}")
    return table


async def _believed(conduit: Conduit) -> list[Belief]:
    features, beliefs = conduit.router.features, conduit.router.beliefs
    records = await recent(conduit.ledger, last=LOOKED_AT)
    contexts = [r.decision.context for r in records if r.decision.features == features.version]
    return list(shown(beliefs, conduit.router.catalogue.models, contexts or [features.context("")]))


async def _key_id(ledger: SqlLedger, name: str) -> str:
    """Of a managed key's name or id. Decisions of a key that is not in the database may be named by its id."""
    entry = await SqlKeyStore(ledger.database).named(name)
    if entry is not None:
        return entry.key.id
    if await ledger.recent(limit=1, key_id=name):
        return name
    raise InvalidRequest(f"--without-key: there is no key {name[:80]!r}, and no decision of one", param="without_key")


def with_beliefs(work: Callable[[Conduit], Awaitable[T]]) -> T:
    environ = read_environ()
    conduit = asyncio.run(assemble(read_settings(environ), environ))

    async def worked() -> T:
        await conduit.ledger.open()
        try:
            await conduit.follower.begin()
            return await work(conduit)
        finally:
            await conduit.stop()

    return asyncio.run(worked())
