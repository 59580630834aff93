"""Hard caps of whole gateways: two replicas on one PostgreSQL, and what a key is told."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.gateway import GatewayProcess, Reply, declared, problem, until
from tests.support.postgres import Postgres, postgres, postgres_url
from tests.support.scripts import hangs, refuses, says
from tests.support.upstream import FakeUpstream

__all__ = ["postgres", "postgres_url"]

OWN = "operators-own-key-marked-77aa"
PRICES = {"cheap": 1.0, "dear": 1000.0}
"""US dollars per million tokens of output; input is free, so that ten tokens of `dear` are a cent."""
CAPPED = """
[keys.ten]
cap_usd_per_day = 0.1
[keys.crash]
cap_usd_per_month = 0.1
[keys.frugal]
cap_usd_per_day = 0.015
[keys.whole]
cap_usd_per_day = 0.015
[keys.paced]
budget_usd_per_day = 0.02
preferences = { quality = 1.0, cost = 0.0 }
[keys.stream]
cap_usd_per_day = 0.015
"""
ENV = {"API_KEY": OWN, "CAP_HOLD_S": "2", "CAP_OUTPUT_TOKENS": "20", "UPSTREAM_TIMEOUT_S": "30"}


@pytest.fixture(scope="module")
def two(
    fake_server: FakeUpstream, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    config = declared(fake_server.base_url, PRICES, more=CAPPED)
    with postgres.database() as url:
        env = {**ENV, "DATABASE_URL": url}
        with (
            GatewayProcess(tmp_path_factory.mktemp("one"), config=config, env=env) as one,
            GatewayProcess(tmp_path_factory.mktemp("other"), config=config, env=env) as other,
        ):
            yield one, other
            assert "Traceback" not in one.said + other.said


def key(gateway: GatewayProcess, name: str) -> dict[str, str]:
    reply = gateway.post("/v1/keys", {"name": name}, {"authorization": f"Bearer {OWN}"})
    assert reply.status == 201, reply.body
    return {"authorization": f"Bearer {reply.json['secret']}"}


def ask(gateway: GatewayProcess, caller: dict[str, str], model: str = "dear", **more: object) -> Reply:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10, **more}
    return gateway.post("/v1/chat/completions", body, caller)


def test_fifty_at_a_time_spend_no_more_than_the_ten_that_are_paid_for(
    two: tuple[GatewayProcess, GatewayProcess], fake: FakeUpstream
) -> None:
    fake.plan("dear", says(completion_tokens=10))
    caller = key(two[0], "ten")
    with ThreadPoolExecutor(50) as threads:
        replies = list(threads.map(lambda i: ask(two[i % 2], caller), range(50)))
    answered = [reply for reply in replies if reply.status == 200]
    assert len(answered) == 10
    assert len(fake.requests) == 10
    refused = [reply for reply in replies if reply.status != 200]
    for reply in refused:
        body = problem(reply, 429, "budget_exceeded")
        assert body["account"] == "key:ten"
        assert 1 <= int(reply.headers["retry-after"]) == body["retry_after"] <= 86_400
    assert ask(two[0], key(two[0], "uncapped")).status == 200


def test_while_something_cheaper_fits_it_answers(
    two: tuple[GatewayProcess, GatewayProcess], fake: FakeUpstream
) -> None:
    """And a request that names no limit is sent with one, for which there was money."""
    gateway = two[1]
    caller = key(gateway, "frugal")
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    reply = gateway.post("/v1/chat/completions", body, caller)
    assert (reply.status, reply.headers["x-conduit-model"]) == (200, "cheap")
    assert fake.requests[-1].json["max_tokens"] == 20
    decision = gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}", caller).json
    assert decision["removed"]["dear"].startswith("budget: 0.02 USD at most, 0.015 left of key:frugal")
    problem(gateway.post("/v1/chat/completions", {**body, "model": "dear"}, caller), 429, "budget_exceeded")


@pytest.mark.parametrize("name", ["whole", "stream"])
def test_what_was_not_needed_pays_for_the_next(
    two: tuple[GatewayProcess, GatewayProcess], fake: FakeUpstream, name: str
) -> None:
    """One that may cost a cent of one and a half, and costs a tenth of one, may be asked five times in a row."""
    fake.plan("dear", says(completion_tokens=1))
    gateway = two[1]
    caller = key(gateway, name)
    for _ in range(5):
        assert ask(gateway, caller, stream=name == "stream", stream_options={"include_usage": True}).status == 200
    fake.plan("dear", refuses(500))
    assert ask(gateway, caller).status == 502  # a failure costs nothing
    assert ask(gateway, caller).status == 502


def test_a_day_that_is_spent_leaves_the_cheapest_on_every_replica_and_refuses_nobody(
    two: tuple[GatewayProcess, GatewayProcess], fake: FakeUpstream
) -> None:
    fake.plan("dear", says(completion_tokens=10))
    caller = key(two[0], "paced")
    for _ in range(3):
        assert ask(two[0], caller).status == 200  # by name, each half of the day's budget
    for gateway in two:

        def stinted(gateway: GatewayProcess = gateway) -> tuple[Reply, dict[str, str]] | None:
            reply = ask(gateway, caller, "auto")
            assert reply.status == 200
            decision = gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}", caller).json
            return (reply, decision["removed"]) if decision["removed"] else None

        reply, removed = until(stinted)
        assert reply.headers["x-conduit-model"] == "cheap"
        assert "under the budget, and would cost" in removed["dear"]
        (budget,) = gateway.get("/v1/stats", {"authorization": f"Bearer {OWN}"}).json["budgets"]
        assert (budget["account"], budget["budget_usd"]) == ("key:paced", 0.02)
        assert budget["spent_usd"] >= 0.03
        assert budget["requests"] >= 4


def test_what_a_killed_replica_held_is_free_again(
    two: tuple[GatewayProcess, GatewayProcess], fake: FakeUpstream
) -> None:
    """Ten calls hang in one that is killed: the other answers nobody until their holds expire, and then ten."""
    one, other = two
    caller = key(one, "crash")
    fake.plan("dear", hangs())
    with ThreadPoolExecutor(10) as threads:
        hanging = [threads.submit(ask, one, caller) for _ in range(10)]
        fake.wait_for_requests(10)
        problem(ask(other, caller), 429, "budget_exceeded")
        one.kill9()
        assert all(future.exception() is not None for future in hanging)
    fake.forget()
    fake.plan("dear", says(completion_tokens=10))
    for _ in range(10):  # each hold expires for itself
        until(lambda: ask(other, caller).status == 200)
    problem(ask(other, caller), 429, "budget_exceeded")
