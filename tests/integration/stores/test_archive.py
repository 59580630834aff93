"""The ledger goes to a file and comes back: the same entries, the same beliefs, and nothing twice."""

import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from conduit import Model, Price, Router
from conduit.core.events import nobody
from conduit.core.storage import Touched, Whole
from conduit.gateway.learning.observations import lessons_of_outcome
from conduit.gateway.learning.settle import Settler
from conduit.routing.decision import Status
from conduit.routing.errors import ConfigurationError
from conduit.routing.system import CountingIds, StillClock
from conduit.stores.files.jsonl import data_of, lines_from, lines_to, whole_of
from conduit.stores.files.parquet import parquet_from, parquet_to
from conduit.stores.sql.archive import SqlArchive
from conduit.stores.sql.ledger import SqlLedger
from tests.support.plain import PlainFeatures
from tests.support.postgres import postgres, postgres_url
from tests.unit.stores import entries

__all__ = ["postgres", "postgres_url"]

MODELS = [Model("cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]
WHOLE = Whole(
    entries.decision(1),
    entries.outcome(1),
    (entries.feedback(1, 1), entries.feedback(1, 2)),
    (entries.observation(1), entries.observation(1, weight=-1.0, quality=None)),
)
BARE = Whole(entries.decision(2, key_id=None, session_id=None), None, (), ())


def router(clock: StillClock | None = None) -> Router:
    return Router(MODELS, seed=1, features=PlainFeatures(), clock=clock or StillClock(), ids=CountingIds())


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlLedger]:
    ledger = SqlLedger(url)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def same(one: Sequence[Whole], other: Sequence[Whole]) -> None:
    assert [everything(each) for each in one] == [everything(each) for each in other]


def everything(whole: Whole) -> list[Any]:
    parts = [whole.decision, whole.outcome, *whole.feedback, *whole.observations]
    return [None if part is None else entries.plain(part) for part in parts]


async def live(ledger: SqlLedger, n: int = 30) -> None:
    """Traffic with outcomes, failures, ratings, and revised ones."""
    clock, ids = StillClock(1000.0), CountingIds()
    chooser, settler = router(clock), Settler(ledger=ledger, clock=clock, ids=ids, listener=nobody)
    for i in range(n):
        clock.at_s += 60.0
        decision = chooser.choose(f"question {i}")
        status = Status.FAILED if i % 7 == 0 else Status.ANSWERED
        outcome = replace(
            entries.outcome(),
            decision_id=decision.id,
            time_s=clock.at_s,
            model=decision.model,
            status=status,
            response_id=None,
        )
        await ledger.append(decision, outcome, *lessons_of_outcome(decision, outcome))
        if i % 3 == 1 and status is Status.ANSWERED:
            await settler.settle(decision.id, {"quality_score": 0.5})
            await settler.settle(decision.id, {"thumbs": "up" if i % 2 else "down"})


async def all_of(ledger: SqlLedger) -> list[Whole]:
    archive, found = SqlArchive(ledger.database), list[Whole]()
    while page := await archive.page(after=found[-1].decision.id if found else "", limit=17):
        found += page
    return found


async def state_of(ledger: SqlLedger) -> dict[tuple[str, str], Any]:
    beliefs = router().beliefs
    for _, observation in await ledger.observations(after=0, limit=10_000):
        beliefs.fold(observation)
    return {(signal, arm): vector for signal, arms in beliefs.state().items() for arm, vector in arms.items()}


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".parquet"])
async def test_a_ledger_that_went_through_a_file_believes_the_same_however_often_it_is_taken_in(
    url: str, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"ledger{suffix}"
    async with opened(url) as there, opened(f"sqlite:///{tmp_path / 'other.db'}") as here:
        await live(there)
        first = await all_of(there)
        with (parquet_to if suffix == ".parquet" else lines_to)(path) as sink:
            sink.put(first[:9])
            sink.put(first[9:])
        read = list((parquet_from if suffix == ".parquet" else lines_from)(path))
        same(read, first)
        archive = SqlArchive(here.database)
        assert (await archive.merge(read[:20]))["decision"] == 20
        assert (await archive.merge(read))["decision"] == 10
        assert await archive.merge(read) == {}
        same(await all_of(here), first)
        there_state, here_state = await state_of(there), await state_of(here)
        assert there_state.keys() == here_state.keys()
        for name, vector in there_state.items():
            np.testing.assert_allclose(here_state[name], vector, rtol=1e-9, atol=1e-9)


async def test_what_came_later_is_added_to_what_is_there(url: str) -> None:
    async with opened(url) as ledger:
        archive = SqlArchive(ledger.database)
        earlier = replace(WHOLE, feedback=WHOLE.feedback[:1], observations=WHOLE.observations[:1], outcome=None)
        assert await archive.merge([earlier]) == {"decision": 1, "feedback": 1, "observation": 1}
        assert await archive.merge([WHOLE, BARE]) == {"decision": 1, "outcome": 1, "feedback": 1, "observation": 1}
        same(await all_of(ledger), [WHOLE, BARE])


async def test_pages_hold_what_was_touched_since_and_of_one_key(url: str) -> None:
    async with opened(url) as ledger:
        late = entries.feedback(1, time_s=1.75e9)
        await ledger.append(entries.decision(1), late, entries.decision(2), entries.decision(3, key_id="key_2"))
        archive = SqlArchive(ledger.database)

        async def ids(touched: Touched) -> list[str]:
            return [each.decision.id for each in await archive.page(touched=touched)]

        assert await ids(Touched(key_id="key_2")) == [entries.name(3)]
        assert await ids(Touched(since_s=entries.decision(2).time_s)) == [
            entries.name(1),
            entries.name(2),
            entries.name(3),
        ]
        assert await ids(Touched(since_s=1.72e9, key_id="key_1")) == [entries.name(1)]
        assert await ids(Touched(since_s=1.77e9)) == []


def test_every_field_of_every_kind_survives_a_line() -> None:
    for whole in (WHOLE, BARE):
        same([whole_of(orjson.loads(orjson.dumps(data_of(whole))))], [whole])
    assert {f.name for f in fields(WHOLE)} == set(data_of(WHOLE))


def broken(where: str, value: object) -> bytes:
    data: Any = data_of(WHOLE)
    *path, last = where.split(".")
    part = data
    for name in path:
        part = part[int(name) if name.isdecimal() else name]
    if value is KeyError:
        del part[last]
    else:
        part[last] = value
    return orjson.dumps(data)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 2"),
        (b"[]", "line 2"),
        (broken("decision", KeyError), "decision is missing"),
        (broken("decision.time_s", "soon"), "decision.time_s: must be float or int"),
        (broken("decision.time_s", None), "decision.time_s: must not be null"),
        (broken("decision.colour", "red"), "decision.colour: not known"),
        (broken("decision.input_tokens", True), "decision.input_tokens: must be int"),
        (broken("decision.input_tokens", 2**64 - 1), "decision.input_tokens: too large"),
        (broken("decision.context", "?"), "line 2"),
        (broken("decision.candidates", {"model": ["a"], "odd": [1]}), "line 2"),
        (broken("outcome.status", "happy"), "happy"),
        (broken("outcome.decision_id", "dec_9"), "another decision"),
        (broken("feedback.0.revision", KeyError), "feedback.revision: must not be null"),
        (broken("observations.1.weight", "1"), "observations.weight: must be"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(orjson.dumps({"format": "conduit ledger", "version": 1}) + b"\n" + line + b"\n")
    with pytest.raises(ConfigurationError, match=said):
        list(lines_from(path))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_named(number: float) -> None:
    """JSON has none of them, Parquet does."""
    data: Any = data_of(WHOLE)
    data["outcome"]["cost_usd"] = number
    with pytest.raises(ValueError, match=r"outcome.cost_usd: must be finite"):
        whole_of(data)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format": "conduit ledger", "version": 2}', b"x"])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, text: bytes) -> None:
    for name, content in (("l.jsonl", text), ("l.jsonl.gz", gzip.compress(text)), ("m.jsonl.gz", text)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=name):
            list(lines_from(tmp_path / name))
    (tmp_path / "l.parquet").write_bytes(text)
    for path in (tmp_path / "l.parquet", tmp_path / "absent.parquet"):
        with pytest.raises(ConfigurationError):
            list(parquet_from(path))
