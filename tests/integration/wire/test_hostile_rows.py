"""Rows that anybody may have written by SQL: they stop no start, no page, no command and no learning."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.wire.ledgers import chance_of_good, cli, database, gateway, said, teach
from tests.support.gateway import GatewayProcess, until
from tests.support.stub_provider import StubProvider

NAN = float("nan")
OBSERVATION = "UPDATE observations SET {} = ? WHERE decision_id = ?"
DECISION = "UPDATE decisions SET {} = ? WHERE id = ?"
OUTCOME = "UPDATE outcomes SET {} = ? WHERE decision_id = ?"
FEEDBACK = "UPDATE feedback SET {} = ? WHERE decision_id = ?"


def floats(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


FOLDED: dict[str, tuple[str, str, Any]] = {
    "34 empty context": (DECISION, "context", b""),
    "34 short context": (DECISION, "context", floats(*[0.1] * 74)),
    "34 half a number": (DECISION, "context", b"abc"),
    "34 context as text": (DECISION, "context", "abcd" * 75),
    "34 context as a number": (DECISION, "context", 10**12),
    "34 NaN": (DECISION, "context", floats(*[NAN] * 75)),
    "34 wild": (DECISION, "context", floats(*[3.4e38] * 75)),
    "34 weight 1e308": (OBSERVATION, "weight", 1e308),
    "34 weight infinite": (OBSERVATION, "weight", float("inf")),
    "34 weight as text": (OBSERVATION, "weight", "heavy"),
    "34 quality 1e308": (OBSERVATION, "quality", 1e308),
    "34 quality -5": (OBSERVATION, "quality", -5.0),
    "34 quality as bytes": (OBSERVATION, "quality", b"\xff"),
    "34 tokens -1": (OBSERVATION, "output_tokens", -1.0),
    "34 latency infinite": (OBSERVATION, "latency_s", float("inf")),
    "34 cost -1": (OBSERVATION, "cost_usd", -1.0),
    "34 time as text": (OBSERVATION, "time_s", "yesterday"),
    "34 time infinite": (OBSERVATION, "time_s", float("inf")),
    "34 time 1e308": (OBSERVATION, "time_s", 1e308),
    "34 model as bytes": (OBSERVATION, "model", b"\xff\xfe"),
    "34 preference 7": (OBSERVATION, "preference", 7.0),
}
"""None of which can be folded."""
READ: dict[str, tuple[str, str, Any]] = {
    "34 candidates are no JSON": (DECISION, "candidates", "{"),
    "34 candidates of another form": (DECISION, "candidates", '{"who": [1]}'),
    "34 removed is a list": (DECISION, "removed", "[1]"),
    "34 propensity 0": (DECISION, "propensity", 0.0),
    "34 propensity as text": (DECISION, "propensity", "likely"),
    "34 time of a decision as text": (DECISION, "time_s", "now"),
    "34 tokens as text": (DECISION, "input_tokens", "many"),
    "34 why as bytes": (DECISION, "why", b"\xff"),
    "34 user as bytes": (DECISION, "user_id", b"\xff\x00"),
    "34 features as bytes": (DECISION, "features", b"\xff"),
    "34 hash as text": (DECISION, "prompt_hash", "abc"),
    "34 status": (OUTCOME, "status", "splendid"),
    "34 attempts": (OUTCOME, "attempts", "[]"),
    "34 latency of an outcome": (OUTCOME, "latency_s", "long"),
    "34 outcome's cost": (OUTCOME, "cost_usd", float("inf")),
    "34 signals": (FEEDBACK, "signals", "[[["),
    "34 lessons": (FEEDBACK, "lessons", '{"quality": [1, 2], "weight": [1]}'),
    "34 weight of a feedback": (FEEDBACK, "weight", "heavy"),
}
"""All of which pages and commands read."""
NOT_TEXT = "34 text that is none"


@dataclass
class World:
    folder: Path
    running: GatewayProcess
    names: dict[str, str]
    """The row's decision, by its id in the tables above."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway that was started on all of them together."""
    folder = tmp_path_factory.mktemp("hostile")
    with StubProvider() as stub, gateway(folder, stub.base_url) as running:
        hostile = {**FOLDED, **READ}
        names = dict(zip([*hostile, NOT_TEXT], teach(running, len(hostile) + 1), strict=True))
        running.stop()
        with database(folder) as connection:
            for row, (statement, column, value) in hostile.items():
                connection.execute(statement.format(column), (value, names[row]))
            connection.execute("UPDATE decisions SET domain = CAST(x'fffe' AS TEXT) WHERE id = ?", (names[NOT_TEXT],))
        running.start()
        yield World(folder, running, names)


@pytest.mark.parametrize("row", FOLDED)
def test_what_cannot_be_folded_is_set_aside_and_named(world: World, row: str) -> None:
    lines = [line for line in world.running.said.splitlines() if "set aside" in line]
    assert any(world.names[row] in line for line in lines), lines[:5]


@pytest.mark.parametrize("row", [*FOLDED, *READ, NOT_TEXT])
def test_each_can_be_looked_at(world: World, row: str) -> None:
    reply = world.running.get(f"/v1/decisions/{world.names[row]}")
    assert reply.status == 200
    assert reply.json["id"] == world.names[row]


def test_34_it_is_ready_says_so_and_learns_on(world: World) -> None:
    ready = world.running.get("/health/ready")
    assert ready.status == 200
    assert ready.json["checks"]["beliefs"] == "degraded"
    assert world.running.get("/v1/stats").json["set_aside"] >= len(FOLDED)
    assert "conduit_observations_set_aside_total" in world.running.get("/metrics").body.decode()
    teach(world.running, 60, seed=5)
    until(lambda: chance_of_good(world.running) > 0.8, otherwise=lambda: f"{chance_of_good(world.running)}")


def test_34_the_audit_log_shows_all_of_them(world: World) -> None:
    found, before = set(), ""
    while True:
        page = world.running.get(f"/v1/decisions?limit=7{before}")
        assert page.status == 200
        found |= {record["id"] for record in page.json["data"]}
        if not page.json["has_more"]:
            break
        before = f"&before={page.json['data'][-1]['id']}"
    assert set(world.names.values()) <= found


@pytest.mark.parametrize(
    "words",
    [
        ["beliefs", "show"],
        ["beliefs", "rollback", "--to", "30d", "--yes"],
        ["export", "ledger.jsonl", "--force"],
        ["evaluate", "--policy", "ucb1"],
        ["savings"],
    ],
    ids=lambda words: f"34 conduit {' '.join(words)}",
)
def test_no_command_stumbles(world: World, words: list[str]) -> None:
    """While the gateway runs; the one that takes back comes to an end, too."""
    said(cli(world.folder, *words))
