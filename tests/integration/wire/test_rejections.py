"""What one model does not take, or one caller's requests break, is no reason to leave it alone with all else."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.integration.wire.asking import CHAT, HELLO, ask, outcome_of, tried
from tests.support.gateway import GatewayProcess, Reply, declared
from tests.support.stub_provider import Asked, StubProvider, hello

IMAGE: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "what is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
    }
]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def rejects(*, when: str, status: int = 400, param: str | None = None, code: str | None = None) -> Any:
    """Requests that have this field, or all ("model")."""

    async def play(asked: Asked) -> None:
        if when not in asked.json:
            await hello(asked)
            return
        error = {"message": "not here", "type": "invalid_request_error", "param": param, "code": code}
        await asked.answer(json.dumps({"error": error}).encode(), status=status)

    return play


async def blind(asked: Asked) -> None:
    """As llama.cpp's server without a projector: 500 to images."""
    if "image_url" in asked.body.decode():
        await asked.answer(b'{"error":{"code":500,"message":"image input is not supported"}}', status=500)
    else:
        await hello(asked)


BEHAVIOURS = {
    "rejects-all": rejects(when="model"),
    "rejects-tools": rejects(when="tools", param="tools"),
    "rejects-bias": rejects(when="logit_bias", param="logit_bias", status=422),
    "rejects-mine": rejects(when="my_own_field"),
    "rejects-unnamed": rejects(when="seed"),
    "too-long": rejects(when="seed", code="context_length_exceeded"),
    "blind": blind,
    "blind-too": blind,
}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider(BEHAVIOURS) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(stub.base_url, {**dict.fromkeys(BEHAVIOURS, 1.0), "good": 2.0})
    env = {"POLICY": "uniform", "SEED": "3", "LOG_FORMAT": "json"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env) as running:
        for name in BEHAVIOURS:  # one that was never asked would be a newcomer, with a share of its own
            ask(running, name)
        yield running


def among(gateway: GatewayProcess, bad: str, **more: Any) -> Reply:
    return ask(gateway, conduit={"constraints": {"allow": [bad, "good"]}}, **more)


REJECTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "10 every request": ("rejects-all", {}, "plain requests"),
    "10 tools": ("rejects-tools", {"tools": TOOLS}, "tools"),
    "10 a parameter": ("rejects-bias", {"logit_bias": {"1": 1}}, "logit_bias"),
    "10 a parameter, with others beside it": ("rejects-bias", {"logit_bias": {"1": 1}, "top_p": 0.5}, "logit_bias"),
    "10 a parameter of the caller's own": ("rejects-mine", {"my_own_field": 1}, "requests with another parameter"),
    "10 a parameter that is not named": ("rejects-unnamed", {"seed": 1}, "requests with seed"),
}


@pytest.mark.parametrize("row", REJECTED)
def test_rejections_are_remembered_and_shown(gateway: GatewayProcess, stub: StubProvider, row: str) -> None:
    """After three, while another model answered, such requests no longer go there; in the end the caller sees none."""
    bad, more, mark = REJECTED[row]
    before = len(stub.of(bad))
    replies = [among(gateway, bad, **more) for _ in range(40)]
    assert [reply.status for reply in replies] == [200] * 40
    assert len(stub.of(bad)) - before <= 3, "a half of 40 without memory"
    shown = gateway.get(f"/v1/decisions/{replies[-1].headers['x-conduit-decision']}").json["removed"]
    assert shown[bad].startswith(f"rejects {mark}: 3 times")
    assert f"{bad} rejects {mark}" in gateway.said
    assert 'what="rejections"' in gateway.get("/metrics").body.decode()
    assert "my_own_field" not in gateway.said, "what callers make up is not repeated"


def test_control_other_requests_still_go_there(gateway: GatewayProcess, stub: StubProvider) -> None:
    """10: a model without tools answers what needs none."""
    for _ in range(20):
        among(gateway, "rejects-tools", tools=TOOLS)
    models = {among(gateway, "rejects-tools").headers["x-conduit-model"] for _ in range(20)}
    assert models == {"rejects-tools", "good"}


def test_control_one_prompt_that_is_refused_is_no_kind_of_request(gateway: GatewayProcess, stub: StubProvider) -> None:
    """10: a prompt too long for this model says nothing of the next one."""
    before = len(stub.of("too-long"))
    for _ in range(30):
        assert among(gateway, "too-long", seed=1).status == 200
    assert len(stub.of("too-long")) - before > 5


def test_control_a_named_model_is_asked_all_the_same(gateway: GatewayProcess, stub: StubProvider) -> None:
    """10: and its words reach the caller, to whom it may be a mistake."""
    before = len(stub.of("rejects-all"))
    reply = ask(gateway, "rejects-all")
    assert (reply.status, reply.json["error"]["message"]) == (400, "not here")
    assert len(stub.of("rejects-all")) == before + 1


def test_a_model_without_eyes_stays_open_for_everything_else(gateway: GatewayProcess, stub: StubProvider) -> None:
    """11: images that it answers with 500 close it for images, and are no word on its other answers."""
    for _ in range(30):
        assert among(gateway, "blind", messages=IMAGE).status == 200
    assert 0 < len([asked for asked in stub.of("blind") if b"image_url" in asked.body]) <= 6
    models = [among(gateway, "blind", messages=HELLO).headers["x-conduit-model"] for _ in range(30)]
    assert 5 <= models.count("blind") <= 25
    assert lessons_of_failure(gateway, "blind") == 0


def test_what_was_tried_is_on_record(gateway: GatewayProcess) -> None:
    """11: the failure is there, and marked as none of the model's own."""
    for _ in range(30):  # of a model that no other row has closed for images
        kept = outcome_of(gateway, among(gateway, "blind-too", messages=IMAGE))
        if len(kept["attempts"]) > 1:
            assert tried(kept) == [("blind-too", "http 500"), ("good", None)]
            assert kept["attempts"][0]["counts"] is False
            return
    raise AssertionError("the model without eyes was never first")


def test_one_callers_crashes_close_a_model_for_that_caller_alone(
    stub: StubProvider, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """11: plain prompts that crash the server, under one key of two."""

    async def fragile(asked: Asked) -> None:
        await (asked.answer(b"{}", status=500) if b"crash" in asked.body else hello(asked))

    stub.behaviours["fragile"] = fragile
    config, folder = declared(stub.base_url, {"fragile": 1.0, "good": 2.0}), tmp_path_factory.mktemp("keys")
    with GatewayProcess(folder, config=config, env={"POLICY": "uniform", "SEED": "5", "API_KEY": "sk-admin"}) as keyed:
        bad, other = (_key(keyed, name) for name in ("bad", "other"))
        crash = [{"role": "user", "content": "crash"}]
        for _ in range(40):
            assert _as(keyed, bad, crash).status == 200
        assert len([asked for asked in stub.of("fragile") if b"crash" in asked.body]) <= 6
        models = [_as(keyed, other, HELLO).headers["x-conduit-model"] for _ in range(30)]
        assert 5 <= models.count("fragile") <= 25


def _key(gateway: GatewayProcess, name: str) -> str:
    reply = gateway.post("/v1/keys", {"name": name}, {"authorization": "Bearer sk-admin"})
    assert reply.status == 201, reply.body
    secret: str = reply.json["secret"]
    return secret


def _as(gateway: GatewayProcess, secret: str, messages: list[dict[str, Any]]) -> Reply:
    return gateway.post(CHAT, {"model": "auto", "messages": messages}, {"authorization": f"Bearer {secret}"})


def lessons_of_failure(gateway: GatewayProcess, model: str) -> int:
    with closing(sqlite3.connect(gateway.folder / "conduit.db")) as connection:
        query = "SELECT count(*) FROM observations WHERE model = ? AND quality = 0"
        (count,) = connection.execute(query, [model]).fetchone()
    return int(count)
