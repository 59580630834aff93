"""Looks into the ledger beside the gateways: what is there, what is there twice, and what its fold believes."""

import json
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, func, select

from benchmarks.traffic import Heard, asked
from conduit.assemble import assemble
from conduit.assemble.conduit import Conduit
from conduit.bench.prompts import prompts
from conduit.core.config import make_settings
from conduit.routing.query import Query
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.tables import decisions, feedback, observations, outcomes

PROBES = list(islice(prompts(99), 8))
NUMBERS = ("quality", "quality_sd", "utility", "probability", "cost_usd", "latency_s")
CLOSE = 1e-9
SETTLE_S = 30.0
PAGE = 400
Beliefs = list[list[float]]


class Witness:
    """Open it before anything is written, and close it."""

    def __init__(self, conduit: Conduit, ledger: SqlLedger) -> None:
        self._conduit, self._ledger = conduit, ledger
        self._seen_answers = self._seen_feedback = 0

    @classmethod
    async def open(cls, url: str) -> "Witness":
        settings = make_settings(file={"database_url": url, "snapshot_every": 0, "spool_max_bytes": 0}, environ={})
        conduit, ledger = await assemble(settings, {}), SqlLedger(url)
        await conduit.ledger.open()
        await ledger.open()
        return cls(conduit, ledger)

    async def close(self) -> None:
        await self._conduit.stop()
        await self._ledger.close()

    async def missing(self, heard: Heard) -> tuple[int, int]:
        """Of what was promised since the last look: answers without decision and outcome, and feedback that is lost."""
        answers, given = heard.answers[self._seen_answers :], dict(heard.feedback[self._seen_feedback :])
        self._seen_answers, self._seen_feedback = len(heard.answers), len(heard.feedback)
        rows = select(decisions.c.id).join(outcomes, outcomes.c.decision_id == decisions.c.id)
        found: set[str] = set()
        said: dict[str, float] = {}
        for page in pages(answers):
            found |= {row[0] for row in await self._rows(rows.where(decisions.c.id.in_(page)))}
        for page in pages(list(given)):
            kept = select(feedback.c.decision_id, feedback.c.quality).where(feedback.c.decision_id.in_(page))
            said |= {row[0]: row[1] for row in await self._rows(kept)}
        lost = sum(not math.isclose(said.get(name, -1.0), score, abs_tol=1e-12) for name, score in given.items())
        return len(set(answers) - found), lost

    async def doubled(self) -> int:
        """Decisions of which anything was taught twice of one model."""
        o = observations.c
        twice = 0
        for signal in (o.output_tokens, o.quality):
            found = select(o.decision_id).where(signal.is_not(None)).group_by(o.decision_id, o.model)
            found = found.having(func.count() > 1)
            twice += len(await self._rows(found))
        return twice

    async def untaught(self) -> int:
        """Answers without their observation."""
        o = observations.c
        taught = select(o.decision_id).where(o.output_tokens.is_not(None))
        answered = select(outcomes.c.decision_id).where(
            outcomes.c.status == "answered", outcomes.c.decision_id.not_in(taught)
        )
        return len(await self._rows(answered))

    async def observed(self) -> int:
        return int((await self._rows(select(func.count()).select_from(observations)))[0][0])

    async def beliefs(self) -> Beliefs:
        """Of the fold of the whole ledger, by a reader that was never killed."""
        await self._conduit.follower.catch_up()
        router = self._conduit.router
        return [sorted_numbers([c._asdict() for c in router.choose(Query(text=each)).candidates]) for each in PROBES]

    async def disagreement(self, ports: Iterable[int], times: int) -> float:
        """The largest relative difference between the fold and any of the gateways, each asked `times`; they have a
        moment to catch up."""
        told, deadline = await self.beliefs(), monotonic() + SETTLE_S
        worst = math.inf
        while worst > CLOSE and monotonic() < deadline:
            sleep(0.05)  # noqa: ASYNC251 - nothing else runs here
            worst = max(difference(told, asked_beliefs(port)) for port in ports for _ in range(times))
        return worst

    async def _rows(self, statement: object) -> Sequence[Sequence[Any]]:
        def work(connection: Connection) -> Sequence[Sequence[Any]]:
            return connection.execute(statement).all()  # type: ignore[call-overload,no-any-return]

        return await self._ledger.database.read(work)


def asked_beliefs(port: int) -> Beliefs:
    said = []
    for prompt in PROBES:
        status, _, raw = asked(port, "/v1/route", {"prompt": prompt})
        if status != 200:
            return []
        said.append(sorted_numbers(json.loads(raw)["candidates"]))
    return said


def sorted_numbers(candidates: Sequence[dict[str, object]]) -> list[float]:
    ordered = sorted(candidates, key=lambda candidate: str(candidate["model"]))
    return [-1.0 if c[name] is None else float(str(c[name])) for c in ordered for name in NUMBERS]


def difference(one: Beliefs, other: Beliefs) -> float:
    if [len(row) for row in one] != [len(row) for row in other]:
        return math.inf
    pairs = ((x, y) for row, line in zip(one, other, strict=True) for x, y in zip(row, line, strict=True))
    return max(abs(x - y) / max(abs(x), abs(y), 1e-6) for x, y in pairs)


def pages(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[at : at + PAGE] for at in range(0, len(names), PAGE))
