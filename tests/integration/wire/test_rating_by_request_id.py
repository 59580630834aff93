"""Clients that show no id of the answer rate it by the x-request-id that they sent."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.gateway import GatewayProcess, declared, problem
from tests.support.postgres import Postgres, postgres
from tests.support.stub_provider import StubProvider

__all__ = ["postgres"]

CHAT, COMPLETE, ROUTE, FEEDBACK = "/v1/chat/completions", "/v1/complete", "/v1/route", "/v1/feedback"
HELLO = [{"role": "user", "content": "hello"}]
ADMIN = "admin-key-of-the-test"


def key(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[GatewayProcess]:
    env = {"API_KEY": ADMIN, "DATABASE_URL": database}
    config = declared(stub.base_url, {"one": 1.0, "two": 2.0})
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env, command="conduit serve") as running:
        yield running


@pytest.fixture(scope="module")
def keys(gateway: GatewayProcess) -> tuple[str, str]:
    made = [gateway.post("/v1/keys", {"name": name}, key(ADMIN)).json["secret"] for name in ("ann", "ben")]
    return made[0], made[1]


def ask(gateway: GatewayProcess, secret: str, own: str, path: str = CHAT, **more: object) -> str:
    """The decision."""
    body: dict[str, object] = {"prompt": "hello"} if path != CHAT else {"model": "auto", "messages": HELLO}
    reply = gateway.post(path, {**body, **more}, {**key(secret), "x-request-id": own})
    assert reply.status == 200, reply.body
    assert reply.headers["x-request-id"] == own
    return reply.headers["x-conduit-decision"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        pytest.param(CHAT, {}, id="28 chat"),
        pytest.param(CHAT, {"stream": True}, id="28 stream"),
        pytest.param(CHAT, {"model": "one"}, id="28 a named model"),
        pytest.param(COMPLETE, {}, id="28 complete"),
        pytest.param(ROUTE, {}, id="28 route"),
    ],
)
def test_an_answer_is_rated_by_its_request(
    gateway: GatewayProcess, keys: tuple[str, str], path: str, more: dict[str, object]
) -> None:
    own = str(uuid4())
    decision = ask(gateway, keys[0], own, path, **more)
    rated = gateway.post(FEEDBACK, {"response_id": own, "quality_score": 0.25}, key(keys[0]))
    assert rated.status == 200, rated.body
    assert rated.json["response_id"] == decision
    record = gateway.get(f"/v1/decisions/{own}", key(keys[0])).json
    assert (record["id"], record["request_id"], record["feedback"]["quality"]) == (decision, own, 0.25)


def test_28_of_several_requests_of_one_id_the_latest_is_rated(gateway: GatewayProcess, keys: tuple[str, str]) -> None:
    own = str(uuid4())
    earlier, latest = (ask(gateway, keys[0], own) for _ in range(2))
    rated = gateway.post(FEEDBACK, {"response_id": own, "thumbs": "up"}, key(keys[0]))
    assert (rated.json["response_id"], earlier < latest) == (latest, True)
    again = ask(gateway, keys[0], own)
    assert gateway.post(FEEDBACK, {"response_id": own, "thumbs": "up"}, key(keys[0])).json["response_id"] == again


def test_28_a_preference_names_the_lesser_answer_so_too(gateway: GatewayProcess, keys: tuple[str, str]) -> None:
    better, lesser = str(uuid4()), str(uuid4())
    won, lost = ask(gateway, keys[0], better, model="one"), ask(gateway, keys[0], lesser, model="two")
    rated = gateway.post(FEEDBACK, {"response_id": better, "preferred_over": lesser}, key(keys[0]))
    assert rated.json["response_id"] == won
    assert gateway.get(f"/v1/decisions/{lost}", key(keys[0])).json["feedback"] is not None


@pytest.mark.parametrize("admins", [False, True], ids=["28 another key", "28 an admin's key"])
def test_the_ids_of_another_key_are_nobodys(gateway: GatewayProcess, keys: tuple[str, str], admins: bool) -> None:
    """Anybody may choose any id: even an admin's rating goes to the admin's own request, and to no other."""
    own, other = str(uuid4()), ADMIN if admins else keys[1]
    decision = ask(gateway, keys[0], own)
    problem(gateway.post(FEEDBACK, {"response_id": own, "thumbs": "up"}, key(other)), 404, "not_found")
    mine = ask(gateway, other, own)
    ask(gateway, keys[0], own)
    rated = gateway.post(FEEDBACK, {"response_id": own, "thumbs": "up"}, key(other))
    assert rated.json["response_id"] == mine
    assert gateway.get(f"/v1/decisions/{decision}", key(keys[0])).json["feedback"] is None


def test_28_an_id_that_we_made_is_not_the_callers(gateway: GatewayProcess, keys: tuple[str, str]) -> None:
    for sent in ({}, {"x-request-id": "no id, for it has blanks"}):
        reply = gateway.post(CHAT, {"model": "auto", "messages": HELLO}, {**key(keys[0]), **sent})
        record = gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}", key(keys[0])).json
        assert record["request_id"] is None
        made = {"response_id": reply.headers["x-request-id"], "thumbs": "up"}
        problem(gateway.post(FEEDBACK, made, key(keys[0])), 404, "not_found")


def test_28_control_nobody_takes_over_an_answer_by_calling_a_request_like_it(
    gateway: GatewayProcess, keys: tuple[str, str]
) -> None:
    decision = ask(gateway, keys[0], str(uuid4()))
    ask(gateway, keys[0], decision)
    rated = gateway.post(FEEDBACK, {"response_id": decision, "thumbs": "up"}, key(keys[0]))
    assert rated.json["response_id"] == decision
