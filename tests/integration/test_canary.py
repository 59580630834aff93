"""Marked secrets and prompts go through every path, errors included; then every sink is searched for them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conduit.core.config import make_settings
from tests.support.collector import Collector
from tests.support.gateway import FAKE_KEY, GatewayProcess, Reply, declared, until
from tests.support.scripts import refuses, says
from tests.support.upstream import ANY_MODEL, FakeUpstream

OWN = "operators-own-canary-2f60d1"
WRONG = "sk-wrong-canary-93ab77"
PROMPT = "prompt-canary-5be1c9"
ANSWER = "answer-canary-e07d42"
COMMENT = "comment-canary-881f3a"
PASSWORD = "password-canary-c41e"
ADMIN = {"authorization": f"Bearer {OWN}"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


@pytest.fixture(scope="module", params=["json", "console"])
def gateway(
    request: pytest.FixtureRequest,
    fake_server: FakeUpstream,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    env = {
        "API_KEY": OWN,
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": request.param,
        "OTEL_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "UPSTREAM_ATTEMPTS": "1",
    }
    config = declared(fake_server.base_url, {"cheap": 1.0})
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env) as gateway:
        yield gateway


def everything(gateway: GatewayProcess, fake: FakeUpstream) -> tuple[list[Reply], list[Reply], str]:
    """Answers that may hold what the model said; answers that may hold nothing; and a managed secret."""
    made = gateway.post("/v1/keys", {"name": "canary"}, ADMIN)
    secret: str = made.json["secret"]
    key = {"authorization": f"Bearer {secret}"}
    chat: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
    fake.plan(ANY_MODEL, says(ANSWER))
    whole = gateway.post("/v1/chat/completions", chat, key)
    good = [
        whole,
        gateway.post("/v1/chat/completions", {**chat, "stream": True}, key),
        gateway.post("/v1/complete", {"prompt": PROMPT, "user_id": "me"}, key),
    ]
    name = whole.headers["x-conduit-decision"]
    quiet = [
        gateway.post("/v1/route", {"prompt": PROMPT}, key),
        gateway.post("/v1/feedback", {"response_id": name, "quality_score": 0.5, "comments": COMMENT}, key),
        gateway.post("/v1/complete", {"prompt": 5, PROMPT: PROMPT}, key),
        gateway.post("/v1/complete", {"prompt": PROMPT, "constraints": {"max_cost": PROMPT}}, key),
        gateway.post("/v1/complete", f'{{"prompt": "{PROMPT}"'.encode(), key),
        gateway.post("/v1/complete", {"prompt": PROMPT * 2000}, key),
        gateway.post("/v1/complete", {"prompt": PROMPT, "constraints": {"allow": ["absent"]}}, key),
        gateway.post("/v1/keys", {"name": "no"}, key),
        gateway.post("/v1/keys/canary/rotate", {"overlap_s": WRONG}, ADMIN),
        gateway.get("/v1/keys", ADMIN),
        gateway.get("/v1/models", {"authorization": f"Bearer {WRONG}"}),
        gateway.get("/v1/models", {"authorization": f"Basic {WRONG}"}),
        gateway.get("/v1/stats", key),
        gateway.get("/health/ready"),
        gateway.get("/metrics", ADMIN),
    ]
    for script in (
        refuses(401, f"{FAKE_KEY} {PROMPT}".encode()),
        refuses(500, PROMPT.encode()),
        refuses(429, PROMPT.encode()),
    ):
        fake.plan(ANY_MODEL, script)
        quiet.append(gateway.post("/v1/chat/completions", chat, key))
    return good, quiet, secret


def test_nothing_secret_comes_out_anywhere(gateway: GatewayProcess, fake: FakeUpstream, collector: Collector) -> None:
    """Logs of either form, errors, /metrics, spans and their attributes, exported metrics, and the database file."""
    good, quiet, secret = everything(gateway, fake)
    assert all(reply.status == 200 for reply in good)
    assert ANSWER.encode() in good[0].body
    assert {reply.status for reply in quiet} >= {200, 400, 401, 403, 413, 422, 502}
    last = quiet[-1].headers["x-request-id"]
    until(lambda: any(span.attributes.get("conduit.request.id") == last for span in list(collector.spans)))
    gateway.stop()
    keys = (OWN, WRONG, FAKE_KEY, secret)
    sinks = {
        "logs": gateway.said,
        "spans": repr(collector.spans) + repr(collector.resources),
        "metrics": "".join(map(str, collector.metrics.values())),
        "headers": "".join(repr(reply.headers) for reply in (*good, *quiet)),
        "answers": "".join(reply.body.decode() for reply in quiet),
    }
    assert "canary" in sinks["answers"], "the key's own name: the search does search"
    for word in (*keys, PROMPT, ANSWER, COMMENT):
        assert not [sink for sink, text in sinks.items() if word in text], word
    kept = b"".join(path.read_bytes() for path in gateway.folder.glob("conduit.db*"))
    assert COMMENT.encode() in kept
    for word in (*keys, PROMPT, ANSWER):
        assert word.encode() not in kept, word


@pytest.mark.parametrize("mode", ["off", "hashed", "full"])
def test_a_prompt_is_in_the_ledger_where_it_is_to_be_kept_and_nowhere_else(
    mode: str, fake_server: FakeUpstream, fake: FakeUpstream, collector: Collector, tmp_path: Path
) -> None:
    """Its own column, and of a text that is kept no secret."""
    env = {
        "PROMPT_TEXT": mode,
        "LOG_LEVEL": "debug",
        "OTEL_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "UPSTREAM_ATTEMPTS": "1",
        "API_KEY": OWN,
    }
    prompt = f"{PROMPT}-{mode}"
    config = declared(fake_server.base_url, {"cheap": 1.0})
    with GatewayProcess(tmp_path, config=config, env=env) as gateway:
        chat = {"model": "auto", "messages": [{"role": "user", "content": f"{prompt}; my key is {FAKE_KEY}"}]}
        keys = [gateway.post("/v1/keys", {"name": name}, ADMIN).json["secret"] for name in ("mine", "others")]
        mine, others = ({"authorization": f"Bearer {key}"} for key in keys)
        fake.plan(ANY_MODEL, says(ANSWER))
        whole = gateway.post("/v1/chat/completions", chat, mine)
        gateway.post("/v1/complete", {"prompt": f"{prompt}; my key is {FAKE_KEY}"}, mine)
        gateway.post("/v1/route", {"prompt": f"{prompt}; my key is {FAKE_KEY}"}, mine)
        path = f"/v1/decisions/{whole.headers['x-conduit-decision']}"
        records = [gateway.get(path, headers).json for headers in (mine, ADMIN)]
        pages, everybodys = (gateway.get("/v1/decisions", headers) for headers in (mine, ADMIN))
        assert gateway.get(path, others).status == 404
        other_sinks = [gateway.get("/metrics", ADMIN), gateway.get("/v1/stats", ADMIN), everybodys, pages]
        last = pages.headers["x-request-id"]
        until(lambda: any(span.attributes.get("conduit.request.id") == last for span in list(collector.spans)))
        gateway.stop()
    for record in records:
        assert record.get("prompt") == (f"{prompt}; my key is [key]" if mode == "full" else None)
    assert ["prompt_hash" in record for record in records] == [False, mode == "hashed"]
    assert len(pages.json["data"]) == len(everybodys.json["data"]) == 3
    assert not any("prompt_hash" in record for record in pages.json["data"])
    hashes = {record.get("prompt_hash") for record in everybodys.json["data"]}
    assert len(hashes) == 1
    assert (None in hashes) is (mode != "hashed")
    sinks = gateway.said + repr(collector.spans) + repr(collector.resources) + repr(collector.metrics)
    assert prompt not in sinks + "".join(reply.body.decode() + repr(reply.headers) for reply in other_sinks)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert (prompt.encode() in files) is (mode == "full")
    assert FAKE_KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("conduit.db*"))
    if mode == "full":
        with closing(sqlite3.connect(tmp_path / "conduit.db")) as database:
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found = {
                (table, column)
                for table in tables
                for cursor in [database.execute(f'SELECT * FROM "{table}"')]
                for row in cursor
                for (column, *_), value in zip(cursor.description, row, strict=True)
                if prompt in str(value)
            }
        assert found == {("decisions", "prompt")}


def test_settings_do_not_show_their_secrets() -> None:
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:1/x"
    settings = make_settings(
        file={}, environ={"API_KEY": OWN, "DATABASE_URL": url, "REDIS_URL": f"redis://:{PASSWORD}@h"}
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert OWN not in shown
        assert PASSWORD not in shown


def test_a_start_that_fails_does_not_show_the_password(tmp_path: Path) -> None:
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:1/x"
    gateway = GatewayProcess(tmp_path, env={"DATABASE_URL": url, "API_KEY": OWN})
    with pytest.raises(AssertionError, match="ended instead of starting"):
        gateway.start()
    assert PASSWORD not in gateway.said
    assert OWN not in gateway.said
