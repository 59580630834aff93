"""Many at once on one row: what looks like an outage is a line in which everybody is served, and counted once."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from tests.support.gateway import GatewayProcess, Reply, declared, until
from tests.support.postgres import Postgres, postgres
from tests.support.raw_client import RawClient, RawReply
from tests.support.stub_provider import Asked, StubProvider, completion

__all__ = ["postgres"]

OWN = "operators-own-key-marked-77aa"
CALLER = {"authorization": f"Bearer {OWN}"}
CHAT = "/v1/chat/completions"
PATIENCE_S = 180.0
"""The machine may be busy; nothing here waits so long by itself."""


async def ten(asked: Asked) -> None:
    """Tokens of output, a cent at the price below."""
    await asked.answer(completion(usage={"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17}))


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider({"dear": ten}) as provider:
        yield provider


@pytest.fixture(scope="module", params=["sqlite", "postgresql"], ids=["control: sqlite", "postgresql"])
def capped(
    request: pytest.FixtureRequest, stub: StubProvider, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, ...]]:
    """One on SQLite, or two replicas on PostgreSQL, under a wide cap of a day and of a month."""
    caps = "[keys.api_key]\ncap_usd_per_day = 50.0\ncap_usd_per_month = 60.0\n"
    config = declared(stub.base_url, {"dear": 1000.0}, more=caps)
    env = {"API_KEY": OWN, "CAP_USD_PER_DAY": "100", "CAP_USD_PER_MONTH": "100", "UPSTREAM_TIMEOUT_S": "100"}
    with ExitStack() as stack:
        replicas = 1
        if request.param == "postgresql":
            env["DATABASE_URL"] = stack.enter_context(postgres.database())
            replicas = 2
        yield tuple(
            stack.enter_context(GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env))
            for _ in range(replicas)
        )


def ask(port: int, model: str, together: Barrier) -> RawReply:
    with RawClient(port, wait_s=PATIENCE_S) as client:
        together.wait(PATIENCE_S)
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
        client.post(CHAT, body, f"authorization: Bearer {OWN}")
        return client.reply()


@pytest.mark.parametrize(
    ("at_once", "model"),
    [
        pytest.param(400, "dear", id="39 four hundred"),
        pytest.param(400, "auto", id="39 four hundred that leave the choice"),
    ],
)
def test_a_wide_cap_refuses_nobody_and_delays_nothing_it_need_not(
    capped: tuple[GatewayProcess, ...], stub: StubProvider, at_once: int, model: str
) -> None:
    """Each is answered, none degraded, and each reached the provider once."""
    before, together = len(stub.of("dear")), Barrier(at_once)
    ports = [capped[number % len(capped)].port for number in range(at_once)]
    with ThreadPoolExecutor(at_once) as threads:
        replies = list(threads.map(lambda port: ask(port, model, together), ports))
    found = Counter((reply.status, reply.headers.get("x-conduit-degraded", "")) for reply in replies)
    assert found == {(200, ""): at_once}
    assert len(stub.of("dear")) - before == at_once


@pytest.fixture(params=["sqlite", "postgresql"], ids=["control: sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> Iterator[tuple[GatewayProcess, ...]]:
    """Of one process, or of two."""
    with ExitStack() as stack:
        env = {"API_KEY": OWN, "SANDBOX_TIME_SCALE": "0"}
        if request.param == "postgresql":
            env["DATABASE_URL"] = stack.enter_context(postgres.database())
        folders = [tmp_path] if request.param == "sqlite" else [tmp_path / "one", tmp_path / "other"]
        yield tuple(stack.enter_context(GatewayProcess(folder, env=env)) for folder in folders)


def test_39_of_rotations_at_once_one_secret_stays(doors: tuple[GatewayProcess, ...]) -> None:
    """Twenty of each of five keys: all others end with the overlap, whoever was first."""
    for name in ("a", "b", "c", "d", "e"):
        made = doors[0].post("/v1/keys", {"name": name}, CALLER)
        assert made.status == 201
        together = Barrier(20)

        def rotate(number: int, name: str = name, together: Barrier = together) -> Reply:
            together.wait(PATIENCE_S)
            return doors[number % len(doors)].post(f"/v1/keys/{name}/rotate", {"overlap_s": 1}, CALLER)

        with ThreadPoolExecutor(20) as threads:
            replies = list(threads.map(rotate, range(20)))
        assert {reply.status for reply in replies} <= {200, 201}
        secrets = [made.json["secret"], *(reply.json["secret"] for reply in replies)]

        def good(secrets: list[str] = secrets) -> bool:
            return sum(doors[0].get("/v1/models", {"authorization": f"Bearer {s}"}).status == 200 for s in secrets) == 1

        until(good, 30.0, f"more or less than one secret of {name} has no end")
