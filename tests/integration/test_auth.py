"""Keys over real sockets: the command line makes them, two workers know them, and each sees its own."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AuthenticationError, OpenAI, PermissionDeniedError

from tests.support.gateway import GatewayProcess, Reply, environ, problem, until

OWN = "operators-own-key-marked-51ab"
EFFECTIVE_S = 5.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    env = {"API_KEY": OWN, "ENVIRONMENT": "production", "SANDBOX_TIME_SCALE": "0", "API_KEY_GRACE_S": "2"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), workers=2, env=env) as gateway:
        yield gateway
        assert OWN not in gateway.said
        assert "cdt_" not in gateway.said
        assert "Traceback" not in gateway.said


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


ADMIN = bearer(OWN)


def made(gateway: GatewayProcess, name: str, **more: Any) -> dict[str, Any]:
    reply = gateway.post("/v1/keys", {"name": name, **more}, ADMIN)
    assert reply.status == 201, reply.body
    said: dict[str, Any] = reply.json
    return said


def keys(gateway: GatewayProcess, *words: str) -> subprocess.CompletedProcess[str]:
    """`conduit keys ...` beside the running gateway."""
    argv = [str(Path(sys.executable).with_name("conduit")), "keys", *words]
    return subprocess.run(
        argv, check=False, cwd=gateway.folder, env=environ(), capture_output=True, text=True, timeout=300
    )


def everywhere(ask: Callable[[], Reply], status: int) -> bool:
    """On both workers: so many answers in a row come from one alone once in a million times."""
    return all(ask().status == status for _ in range(20))


def test_an_openai_client_is_let_in_and_turned_away_as_it_expects(gateway: GatewayProcess) -> None:
    secret = made(gateway, "client", scopes=["complete"])["secret"]
    question = [{"role": "user", "content": "Hello!"}]
    with OpenAI(base_url=gateway.base_url, api_key=secret, max_retries=0) as client:
        assert client.chat.completions.create(model="auto", messages=question).choices
        with pytest.raises(PermissionDeniedError):
            client.get("/stats", cast_to=object)
    with OpenAI(base_url=gateway.base_url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(AuthenticationError) as caught:
            client.models.list()
        assert caught.value.code == "invalid_api_key"


def test_the_command_line_makes_a_key_for_the_running_gateway(gateway: GatewayProcess) -> None:
    """Its secret alone is on standard output; everything fits 80 columns."""
    done = keys(gateway, "create", "shell", "--scope", "read", "--expires", "30d", "--requests-per-minute", "600")
    assert done.returncode == 0
    secret = done.stdout.strip()
    assert everywhere(lambda: gateway.get("/v1/stats", bearer(secret)), 200)
    problem(gateway.get("/v1/models", bearer(secret)), 403, "permission_denied")
    listed = keys(gateway, "list")
    mistaken = keys(gateway, "create", "shell")
    assert mistaken.returncode != 0
    assert mistaken.stderr.startswith("conduit: name: ")
    assert mistaken.stdout == ""
    assert "shell\n" in listed.stdout
    assert "600 requests/min" in listed.stdout
    assert max(map(len, (listed.stdout + done.stderr).splitlines())) <= 80
    assert secret not in listed.stdout + done.stderr
    assert "revoked" in keys(gateway, "revoke", "shell").stdout
    until(lambda: everywhere(lambda: gateway.get("/v1/stats", bearer(secret)), 401), EFFECTIVE_S)


def test_a_secret_is_replaced_with_an_overlap_and_a_key_revoked_on_every_worker(gateway: GatewayProcess) -> None:
    old = made(gateway, "turned")
    new = gateway.post("/v1/keys/turned/rotate", {"overlap_s": 1.0}, ADMIN).json
    assert (new["id"], new["name"]) == (old["id"], "turned")
    assert new["secret"] != old["secret"]
    rotated_s = time.monotonic()
    assert gateway.get("/v1/models", bearer(new["secret"])).status == 200
    until(lambda: everywhere(lambda: gateway.get("/v1/models", bearer(old["secret"])), 401), EFFECTIVE_S)
    assert time.monotonic() - rotated_s < EFFECTIVE_S
    assert everywhere(lambda: gateway.get("/v1/models", bearer(new["secret"])), 200)
    reply = gateway.send("DELETE", "/v1/keys/turned", None, ADMIN)
    assert reply.json["revoked_s"] is not None
    until(lambda: everywhere(lambda: gateway.get("/v1/models", bearer(new["secret"])), 401), EFFECTIVE_S)
    problem(gateway.post("/v1/keys/turned/rotate", b"", ADMIN), 404, "not_found")


def test_keys_are_listed_without_their_secrets(gateway: GatewayProcess) -> None:
    secret = made(gateway, "listed", limits={"concurrent": 3}, expires_in_s=3600)["secret"]
    reply = gateway.get("/v1/keys", ADMIN)
    entry = next(each for each in reply.json["data"] if each["name"] == "listed")
    assert entry["limits"] == {"requests_per_minute": None, "tokens_per_minute": None, "concurrent": 3}
    assert entry["expires_s"] == pytest.approx(entry["created_s"] + 3600)
    assert secret.encode() not in reply.body
    assert b"cdt_" not in reply.body


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes"),
        ({"name": "x", "expires_in_s": 0}, "expires_in_s"),
        ({"name": "x", "limits": {"concurrent": 0}}, "limits.concurrent"),
        ({"name": "x", "secret": "mine"}, "secret"),
    ],
)
def test_a_wrong_order_names_its_field(gateway: GatewayProcess, body: dict[str, object], param: str) -> None:
    assert problem(gateway.post("/v1/keys", body, ADMIN), 422, "invalid_request")["error"]["param"] == param


def test_a_taken_name_is_a_conflict(gateway: GatewayProcess) -> None:
    made(gateway, "twice")
    assert (
        problem(gateway.post("/v1/keys", {"name": "twice"}, ADMIN), 409, "invalid_request")["error"]["param"] == "name"
    )


def test_what_belongs_to_one_key_is_not_there_for_another(gateway: GatewayProcess) -> None:
    """Not in the audit log, nor for feedback; an admin sees it."""
    mine, other = (bearer(made(gateway, name)["secret"]) for name in ("mine", "other"))
    answer = gateway.post("/v1/complete", {"prompt": "Whose is this?"}, mine).json
    theirs = gateway.post("/v1/complete", {"prompt": "And this?"}, other).json
    path = f"/v1/decisions/{answer['id']}"
    assert [gateway.get(path, headers).status for headers in (mine, other, ADMIN)] == [200, 404, 200]
    for name in (answer["id"], answer["metadata"]["response_id"]):
        said = {"response_id": name, "quality_score": 1.0}
        problem(gateway.post("/v1/feedback", said, other), 404, "not_found")
        problem(
            gateway.post("/v1/feedback", {"response_id": theirs["id"], "preferred_over": name}, other), 404, "not_found"
        )
    assert gateway.get(path, ADMIN).json["feedback"] is None
    assert gateway.post("/v1/feedback", {"response_id": answer["id"], "quality_score": 1.0}, mine).status == 200
    assert [d["id"] for d in gateway.get("/v1/decisions", mine).json["data"]] == [answer["id"]]
    assert {answer["id"], theirs["id"]} <= {d["id"] for d in gateway.get("/v1/decisions", ADMIN).json["data"]}


def test_nobody_has_the_answer_that_another_key_was_given_under_the_same_name(gateway: GatewayProcess) -> None:
    """The body is the same, too: only who calls tells them apart. A new secret of the same key finds its own."""
    ours, theirs = made(gateway, "ours"), made(gateway, "theirs")

    def ask(secret: str) -> Reply:
        headers = bearer(secret) | {"idempotency-key": "order-4711"}
        return gateway.post("/v1/complete", {"prompt": "Hello!"}, headers)

    first, other = ask(ours["secret"]), ask(theirs["secret"])
    assert (first.status, other.status) == (200, 200)
    assert "idempotent-replayed" not in other.headers
    assert other.headers["x-conduit-decision"] != first.headers["x-conduit-decision"]
    assert ask(theirs["secret"]).body == other.body
    renewed = gateway.post("/v1/keys/ours/rotate", {}, ADMIN).json["secret"]
    assert ask(renewed).body == first.body


def test_health_needs_no_key(gateway: GatewayProcess) -> None:
    for path in ("live", "ready", "startup"):
        assert gateway.get(f"/health/{path}").status == 200
    problem(gateway.get("/v1/models"), 401, "authentication_required")


def test_the_openapi_document_asks_for_no_key(gateway: GatewayProcess) -> None:
    assert gateway.get("/openapi.json").status == 200
