"""What survives: kill -9 under load, a restart on the same file, and an orderly end in the middle of a stream."""

import http.client
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from conduit.bench.prompts import prompts
from tests.support.gateway import Command, GatewayProcess, until

ENV = {"SANDBOX_TIME_SCALE": "0", "FOLLOW_INTERVAL_S": "0.05"}
THREADS = 4
LOAD = 120
"""Acknowledged feedbacks before the plug is pulled, so that it is pulled in the middle of everything."""


@dataclass
class Acknowledged:
    """What the gateway has promised to keep. Lists are appended to by several threads."""

    answers: list[str] = field(default_factory=list)
    feedback: list[tuple[str, float]] = field(default_factory=list)


def _client(gateway: GatewayProcess, number: int, kept: Acknowledged, over: threading.Event) -> None:
    """Asks, now and then in a stream, and rates, until the gateway dies."""
    for i, prompt in enumerate(prompts(number)):
        if over.is_set():
            return
        try:
            decision = _answered(gateway, prompt, stream=i % 3 == 0)
            if decision is None:
                return
            kept.answers.append(decision)
            score = (i * 37 % 101) / 100
            if gateway.post("/v1/feedback", {"response_id": decision, "quality_score": score}).status == 200:
                kept.feedback.append((decision, score))
        except (OSError, http.client.HTTPException):
            return


def _answered(gateway: GatewayProcess, prompt: str, *, stream: bool) -> str | None:
    """The decision of an answer that came to its end."""
    body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    reply = gateway.post("/v1/chat/completions", body)
    whole = reply.body.endswith(b"data: [DONE]\n\n") if stream else reply.status == 200
    return reply.headers["x-conduit-decision"] if whole else None


@contextmanager
def load(gateway: GatewayProcess) -> Iterator[Acknowledged]:
    kept, over = Acknowledged(), threading.Event()
    threads = [threading.Thread(target=_client, args=(gateway, n, kept, over)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield kept
    finally:
        over.set()
        for thread in threads:
            thread.join()


def beliefs(gateway: GatewayProcess) -> list[tuple[float, ...]]:
    """Of every model on twenty prompts: expected quality, doubt, utility, cost, latency, probability."""
    said = []
    for prompt in islice(prompts(99), 20):
        candidates = gateway.post("/v1/route", {"prompt": prompt}).json["candidates"]
        for c in sorted(candidates, key=lambda c: c["model"]):
            numbers = ("quality", "quality_sd", "utility", "cost_usd", "latency_s", "probability")
            said.append(tuple(c[name] for name in numbers))
    return said


def settled_beliefs(gateway: GatewayProcess) -> list[tuple[float, ...]]:
    """Once quiet: when several looks in a row, longer together than the follower's interval, see the same."""
    seen: list[Any] = []

    def quiet() -> bool:
        seen.append(beliefs(gateway))
        return len(seen) > 4 and all(look == seen[-1] for look in seen[-4:])

    until(quiet)
    last: list[tuple[float, ...]] = seen[-1]
    return last


def test_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Every acknowledged feedback is there, every completed answer has its decision, and the file is sound."""
    with GatewayProcess(tmp_path, env=ENV) as gateway:
        for _ in range(2):
            with load(gateway) as kept:
                until(lambda kept=kept: len(kept.feedback) >= LOAD)
                gateway.kill9()
            gateway.start()
            assert len(kept.answers) >= LOAD
            records = _everything(gateway)
            assert {records[name]["outcome"]["status"] for name in kept.answers} == {"answered"}
            for name, score in kept.feedback:
                assert records[name]["feedback"]["quality"] == pytest.approx(score)
        gateway.kill9()
        _look_into(tmp_path / "conduit.db")


def _everything(gateway: GatewayProcess) -> dict[str, Any]:
    """The whole audit log, page by page."""
    records: dict[str, Any] = {}
    before, more = "", True
    while more:
        page = gateway.get(f"/v1/decisions?limit=200{before}").json
        records |= {record["id"]: record for record in page["data"]}
        more, before = page["has_more"], f"&before={page['data'][-1]['id']}"
    return records


def _look_into(path: Path) -> None:
    """No page is broken, and nothing stands there without what it belongs to."""
    orphans = "SELECT count(*) FROM {} WHERE decision_id NOT IN (SELECT id FROM decisions)"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in ("outcomes", "feedback", "observations"):
            assert connection.execute(orphans.format(table)).fetchone() == (0,), table


def test_beliefs_are_the_fold_of_the_ledger(tmp_path: Path) -> None:
    """What was learned live, piece by piece, is what a new process reads from the file."""
    with GatewayProcess(tmp_path, env=ENV) as gateway:
        before_all = beliefs(gateway)
        with load(gateway) as kept:
            until(lambda: len(kept.feedback) >= 2 * LOAD)
            _revise(gateway, kept.feedback[::10])
        live = settled_beliefs(gateway)
        gateway.kill9()
        gateway.start()
        assert _flat(beliefs(gateway)) == pytest.approx(_flat(live), rel=1e-9, abs=1e-9)
        assert _flat(live) != pytest.approx(_flat(before_all), rel=1e-2)


def _revise(gateway: GatewayProcess, said: list[tuple[str, float]]) -> None:
    for name, score in said:
        reply = gateway.post("/v1/feedback", {"response_id": name, "quality_score": 1 - score, "thumbs": "up"})
        assert reply.json["revision"] == 2


def _flat(rows: list[tuple[float, ...]]) -> list[float]:
    return [-1.0 if number is None else number for row in rows for number in row]


@pytest.mark.parametrize("command", ["conduit serve", "uvicorn"])
def test_an_orderly_end_lets_a_stream_finish(command: Command, tmp_path: Path) -> None:
    """The answer comes to its own end, is recorded, and then the process ends with 0."""
    with (
        GatewayProcess(tmp_path, command=command, env={"SANDBOX_TIME_SCALE": "0.5"}) as gateway,
        OpenAI(base_url=gateway.base_url, api_key="sk", max_retries=0) as client,
    ):
        asked: list[Any] = [{"role": "user", "content": "Write an essay in detail on lighthouses."}]
        raw = client.chat.completions.with_raw_response.create(
            model="sandbox/large", messages=asked, stream=True, max_tokens=150
        )
        stream = iter(raw.parse())
        next(stream)
        gateway.terminate()
        last = list(stream)[-1]
        assert last.choices[0].finish_reason == "length"
        # uvicorn's own command ends by the signal that it was sent, after everything was put in order
        assert gateway.wait() in ({0} if command == "conduit serve" else {0, -signal.SIGTERM})
        assert "Traceback" not in gateway.said
        gateway.start()
        record = gateway.get(f"/v1/decisions/{raw.headers['x-conduit-decision']}").json
        assert (record["outcome"]["status"], record["outcome"]["output_tokens"]) == ("answered", 150)


def test_a_file_that_cannot_be_written_stops_the_start_and_is_named(tmp_path: Path) -> None:
    """Rather than serving without a memory."""
    (tmp_path / "conduit.db").write_bytes(b"this is no database, it is a letter to my grandmother" * 100)
    gateway = GatewayProcess(tmp_path)
    with pytest.raises(AssertionError, match="ended instead of starting"):
        gateway.start()
    assert "conduit.db" in gateway.said
    assert b"grandmother" in (tmp_path / "conduit.db").read_bytes()


def test_the_same_prompt_hashes_alike_in_all_workers_and_after_a_restart(tmp_path: Path) -> None:
    """And nowhere else: another deployment has another key."""
    hashes: dict[str, set[str]] = {}
    for folder in ("one", "one", "other"):
        with GatewayProcess(tmp_path / folder, workers=2, env=ENV) as gateway:
            for n in range(12):
                gateway.post("/v1/route", {"prompt": "What is 2 + 2?" if n % 2 else "What is 3 + 3?"})
            found = gateway.get("/v1/decisions?limit=100").json["data"]
            hashes.setdefault(folder, set()).update(record["prompt_hash"] for record in found)
    assert len(hashes["one"]) == len(hashes["other"]) == 2
    assert hashes["one"].isdisjoint(hashes["other"])
