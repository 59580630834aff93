"""Feedback of every kind over real sockets: comparisons, retries, the cap, and a restart after all of it."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_restart import settled_beliefs
from tests.support.gateway import GatewayProcess, Reply, declared, problem, until
from tests.support.upstream import FakeUpstream

CAP = 12.0
ENV = {"RETRY_DETECTION": "true", "FEEDBACK_WEIGHT_PER_HOUR": str(CAP), "FOLLOW_INTERVAL_S": "0.05"}
PROMPT = "Write a function in Python that reverses a linked list, and explain how it works."


@pytest.fixture(scope="module")
def gateway(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config) as gateway:
        yield gateway


def ask(gateway: GatewayProcess, model: str = "auto", prompt: str = "hi", session: str | None = None) -> str:
    """The decision of an answer."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "conduit": {"session_id": session}}
    reply = gateway.post("/v1/chat/completions", body)
    assert reply.status == 200
    return reply.headers["x-conduit-decision"]


def say(gateway: GatewayProcess, name: str, **signals: object) -> Reply:
    return gateway.post("/v1/feedback", {"response_id": name, **signals})


def taught(gateway: GatewayProcess) -> dict[str, float]:
    """Weight of all observations of quality, by model, as they stand in the file."""
    with closing(sqlite3.connect(gateway.folder / "conduit.db")) as connection:
        rows = "SELECT model, sum(weight) FROM observations WHERE quality IS NOT NULL GROUP BY model"
        return dict(connection.execute(rows).fetchall())


# ------------------------------------------------------------------ comparisons, regeneration


def test_a_preference_is_recorded_with_both_and_said_twice_is_one(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    one, other = ask(gateway, "cheap"), ask(gateway, "dear")
    first = say(gateway, one, preferred_over=other).json
    assert (first["revision"], first["weight"], first["taught_weight"], first["message"]) == (1, 0.5, 0.5, "recorded")
    assert say(gateway, one, preferred_over=other).json == first
    won = gateway.get(f"/v1/decisions/{one}").json["feedback"]
    lost = gateway.get(f"/v1/decisions/{other}").json["feedback"]
    assert won["signals"]["preferred_over"] == other
    assert [(f["lessons"][0]["rival"], f["lessons"][0]["preference"]) for f in (won, lost)] == [
        ("dear", 1.0),
        ("cheap", -1.0),
    ]


def test_a_preference_can_become_a_tie_and_be_withdrawn(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    one, other = ask(gateway, "cheap"), ask(gateway, "dear")
    say(gateway, one, preferred_over=other)
    tie = say(gateway, one, preferred_over=other, tie=True)
    assert (tie.status, tie.json["revision"]) == (200, 2)
    assert gateway.get(f"/v1/decisions/{other}").json["feedback"]["lessons"][0]["preference"] == 0.0
    assert say(gateway, one, thumbs="up").json["quality"] == 1.0
    assert gateway.get(f"/v1/decisions/{other}").json["feedback"] is None


def test_a_preference_names_two_answers(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    one = ask(gateway)
    unknown = say(gateway, one, preferred_over="dec_nobody")
    assert problem(unknown, 404, "not_found")["error"]["param"] == "preferred_over"
    itself = say(gateway, one, preferred_over=one)
    assert problem(itself, 422, "invalid_request")["error"]["param"] == "preferred_over"
    assert gateway.get(f"/v1/decisions/{one}").json["feedback"] is None


def test_who_asked_again_was_not_content(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    said = say(gateway, ask(gateway), regenerated=True).json
    assert (said["quality"], said["weight"]) == (0.0, 0.3)


@pytest.mark.parametrize(
    ("signals", "param"),
    [
        ({"preferred_over": ""}, "preferred_over"),
        ({"preferred_over": 5}, "preferred_over"),
        ({"preferred_over": "x" * 201}, "preferred_over"),
        ({"preferred_over": ["a", "b"]}, "preferred_over"),
        ({"tie": True}, "tie"),
        ({"tie": True, "thumbs": "up"}, "tie"),
        ({"tie": "yes", "preferred_over": "a"}, "tie"),
        ({"tie": 1, "preferred_over": "a"}, "tie"),
        ({"regenerated": "true"}, "regenerated"),
        ({"regenerated": 1}, "regenerated"),
        ({"regenerated": False}, "quality_score"),
        ({"judge_score": 0.5}, "judge_score"),
        ({"retried": True}, "retried"),
        ({"duels": {}}, "duels"),
        ({"weight": 5}, "weight"),
    ],
)
def test_whatever_is_wrong_is_named(gateway: GatewayProcess, fake: FakeUpstream, signals: Any, param: str) -> None:
    """Nobody gives himself weight, or speaks for the judge."""
    reply = say(gateway, ask(gateway), **signals)
    assert problem(reply, 422, "invalid_request")["error"]["param"] == param


# ------------------------------------------------------------------ the cap, retries, a restart


def test_an_attack_through_several_workers_moves_beliefs_as_far_as_the_cap(fake: FakeUpstream, tmp_path: Path) -> None:
    """Lies about one model, all at once; the other model's feedback counts as before; each answer says how much it
    taught, and the log says once a worker that there is a cap."""
    config = declared(fake.base_url, {"cheap": 1.0, "dear": 100.0})
    with GatewayProcess(tmp_path, config=config, env=ENV, workers=2) as gateway, ThreadPoolExecutor(8) as liars:
        names = list(liars.map(lambda _: ask(gateway, "cheap"), range(120)))
        replies = list(liars.map(lambda name: say(gateway, name, quality_score=0.0), names))
        assert {reply.status for reply in replies} == {200}
        assert sum(reply.json["taught_weight"] for reply in replies) == pytest.approx(CAP)
        capped = [reply for reply in replies if reply.json["taught_weight"] < 1.0]
        assert len(capped) == 120 - CAP
        assert {reply.headers["x-conduit-degraded"] for reply in capped} == {"feedback"}
        assert say(gateway, ask(gateway, "dear"), quality_score=1.0).json["taught_weight"] == 1.0
        assert taught(gateway) == {"cheap": pytest.approx(CAP), "dear": 1.0}
        assert 1 <= gateway.said.count("feedback capped") <= 2
        assert gateway.get("/v1/stats").json["quality_metrics"]["rated"] == CAP + 1


def test_a_retry_is_found_behind_the_request_and_a_restart_believes_the_same(
    fake: FakeUpstream, tmp_path: Path
) -> None:
    """Whichever worker saw the first of the two."""
    config = declared(fake.base_url, {"cheap": 1.0, "dear": 100.0})
    with GatewayProcess(tmp_path, config=config, env=ENV, workers=2) as gateway:
        pairs = [(ask(gateway, prompt=PROMPT, session=f"talk-{n}"), n) for n in range(4)]
        again = [ask(gateway, prompt="Please: " + PROMPT, session=f"talk-{n}") for _, n in pairs]
        whys = [gateway.get(f"/v1/decisions/{name}").json["why"] for name in again]
        assert all("the session's last" in why for why in whys), whys
        lonely = ask(gateway, prompt=PROMPT, session="another")

        def found() -> bool:
            signals = [gateway.get(f"/v1/decisions/{name}").json["feedback"] for name, _ in pairs]
            return all(each is not None and each["signals"] == {"retried": True} for each in signals)

        until(found)
        assert gateway.get(f"/v1/decisions/{lonely}").json["feedback"] is None
        one, other = ask(gateway, "cheap"), ask(gateway, "dear")
        say(gateway, one, preferred_over=other)
        say(gateway, one, preferred_over=other, user_rating=4)
        say(gateway, pairs[0][0], thumbs="up")
        live = settled_beliefs(gateway)
        gateway.kill9()
        gateway.start()
        afterwards = settled_beliefs(gateway)
        flat = [number if number is not None else -1.0 for row in live for number in row]
        assert [number if number is not None else -1.0 for row in afterwards for number in row] == pytest.approx(
            flat, rel=1e-9, abs=1e-9
        )
