"""The cache over real sockets: two workers and one Redis, which leaves at the end."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import openai
import pytest
from redis import Redis

from tests.support.gateway import GatewayProcess, Reply, declared, until
from tests.support.scripts import DONE, chunk, says, streams
from tests.support.upstream import ANY_MODEL, FakeUpstream
from tests.support.valkey import ValkeyServer

MARK = "marked-zebra-cached-3094"
PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    fake_server: FakeUpstream, server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    env = {"CACHE_ENABLED": "true", "REDIS_URL": server.url, "CACHE_MAX_TEMPERATURE": "1", "API_KEY": "sk-one"}
    env |= {"API_RATE_LIMIT": "0", "REDIS_PATIENCE_S": "5"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env, workers=2) as gateway:
        yield gateway


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


def ask(gateway: GatewayProcess, body: object, *, path: str = PATH, key: str = "sk-one", control: str = "") -> Reply:
    headers = {"authorization": f"Bearer {key}"} | ({"cache-control": control} if control else {})
    reply = gateway.post(path, body, headers)
    assert reply.status == 200, reply.body
    return reply


def found(reply: Reply) -> str | None:
    return reply.headers.get("x-conduit-cache")


def warm(gateway: GatewayProcess, body: object, **how: str) -> Reply:
    """The first answer from the cache: it goes there behind the answer of the model."""
    return until(lambda: found(reply := ask(gateway, body, **how)) == "hit" and reply)


def decision(gateway: GatewayProcess, reply: Reply) -> dict[str, object]:
    name = reply.headers["x-conduit-decision"]
    return gateway.get(f"/v1/decisions/{name}", {"authorization": "Bearer sk-one"}).json


@pytest.mark.parametrize(
    ("path", "body"),
    [(PATH, chat("once")), (PATH, chat("once", stream=True)), ("/v1/complete", {"prompt": "once"})],
)
def test_the_same_request_is_answered_by_both_workers_without_a_model(
    gateway: GatewayProcess, fake: FakeUpstream, path: str, body: dict[str, object]
) -> None:
    first = ask(gateway, body, path=path)
    warm(gateway, body, path=path)
    asked = len(fake.requests)
    hits = [ask(gateway, body, path=path) for _ in range(8)]
    assert (found(first), {found(hit) for hit in hits}, len(fake.requests)) == ("miss", {"hit"}, asked)
    for hit in hits:
        assert hit.headers["content-type"] == first.headers["content-type"]
        assert hit.headers["x-conduit-decision"] != first.headers["x-conduit-decision"]
        assert path != PATH or hit.body == first.body
    outcome = decision(gateway, hits[0])["outcome"]
    assert isinstance(outcome, dict)
    assert (outcome["status"], outcome["cost_usd"], outcome["attempts"]) == ("cached", 0.0, [])


def test_openais_own_client_reads_a_replayed_stream(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    fake.plan(ANY_MODEL, streams(chunk({"content": "Guten "}), chunk({"content": "Tag"}), chunk({}, "stop"), DONE))
    body = chat("in german", stream=True)
    warm(gateway, body)
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk-one") as client:
        said = [each.choices[0].delta.content for each in client.chat.completions.create(**body) if each.choices]
    assert "".join(filter(None, said)) == "Guten Tag"


def test_nobody_has_another_keys_answers(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    made = gateway.post("/v1/keys", {"name": "two"}, {"authorization": "Bearer sk-one"})
    warm(gateway, chat("mine"))
    assert found(ask(gateway, chat("mine"), key=made.json["secret"])) == "miss"


@pytest.mark.parametrize(
    ("more", "control"),
    [
        ({"conduit": {"cache": False}}, ""),
        ({}, "no-cache"),
        ({}, "max-age=0, No-Store"),
        ({"temperature": 1.5}, ""),
        ({"n": 2}, ""),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ""),
    ],
)
def test_who_does_not_want_it_or_cannot_have_it_is_answered_by_a_model(
    gateway: GatewayProcess, fake: FakeUpstream, more: dict[str, object], control: str
) -> None:
    warm(gateway, chat("not now"))
    asked = len(fake.requests)
    for _ in range(2):
        assert found(ask(gateway, chat("not now", **more), control=control)) is None
    assert len(fake.requests) == asked + 2


def test_feedback_on_a_hit_is_of_the_model_that_answered(gateway: GatewayProcess) -> None:
    hit = warm(gateway, chat("rate me"))
    said = {"response_id": hit.headers["x-conduit-decision"], "quality_score": 0.5}
    ask(gateway, said, path="/v1/feedback")
    feedback = decision(gateway, hit)["feedback"]
    assert isinstance(feedback, dict)
    assert (feedback["model"], feedback["quality"]) == (hit.headers["x-conduit-model"], 0.5)


def test_hits_and_misses_are_counted_and_what_was_saved_is_no_spending(gateway: GatewayProcess) -> None:
    warm(gateway, chat("count me"))
    said = gateway.get("/metrics").body.decode()
    assert "conduit_cache_hits_total" in said
    assert "conduit_cache_misses_total" in said
    stats = gateway.get("/v1/stats", {"authorization": "Bearer sk-one"}).json
    assert stats["cached"] > 0
    assert stats["total_queries"] == stats["cached"] + sum(stats["model_distribution"].values())


def test_redis_holds_neither_what_was_asked_nor_what_was_answered_nor_a_key(
    gateway: GatewayProcess, fake: FakeUpstream, server: ValkeyServer
) -> None:
    fake.plan(ANY_MODEL, says(MARK))
    for stream in (False, True):
        warm(gateway, chat(MARK, stream=stream))
    with Redis.from_url(server.url) as redis:
        kept = {name: redis.get(name) for name in redis.keys("conduit:cache:*")}
        assert kept
        assert all(0 < redis.ttl(name) <= 86400 for name in kept)
    everything = b"".join([*kept, *kept.values()])
    for secret in (MARK.encode(), b"sk-one", b"choices", os.fsencode(MARK.rpartition("-")[0])):
        assert secret not in everything
    with closing(sqlite3.connect(gateway.folder / "conduit.db")) as connection:
        assert MARK not in "\n".join(connection.iterdump())
    assert MARK not in gateway.said


def test_without_redis_models_are_asked_and_the_answer_says_so(
    gateway: GatewayProcess, fake: FakeUpstream, server: ValkeyServer
) -> None:
    warm(gateway, chat("still there"))
    server.kill()
    for _ in range(4):
        reply = ask(gateway, chat("still there"))
        assert (found(reply), reply.headers["x-conduit-degraded"]) == ("miss", "cache")
    assert 'conduit_degraded_total{what="cache"}' in gateway.get("/metrics").body.decode()
    server.start()
    warm(gateway, chat("still there"))
