"""The log of a real gateway: one line a request, which says what happened and never what was said."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import MARK
from tests.support.gateway import FAKE_KEY, GatewayProcess, Reply, declared, until
from tests.support.scripts import refuses, says
from tests.support.upstream import FakeUpstream

CHAT = "/v1/chat/completions"
KEY = "caller-secret-4242424242"
SAID = {"messages": [{"role": "user", "content": f"{MARK} mail me at jane@mail.example"}], "model": "auto"}


@pytest.fixture(scope="module")
def gateway(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("logged")
    env = {"API_KEY": KEY, "LOG_FORMAT": "json", "PAYLOAD_LOG_FOLDER": "payloads", "PAYLOAD_LOG_KEYS": "api_key"}
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    with GatewayProcess(folder, config=config, env=env) as process:
        yield process
        for secret in (MARK, FAKE_KEY, KEY, "jane@mail.example", "Traceback"):
            assert secret not in process.said


def ask(gateway: GatewayProcess, path: str, body: object) -> Reply:
    return gateway.post(path, body, {"authorization": f"Bearer {KEY}"})


def line_of(gateway: GatewayProcess, reply: Reply) -> dict[str, Any]:
    """The one access line of the request; written after its last byte."""
    name = reply.headers["x-request-id"]

    def found() -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in gateway.said.splitlines() if line.startswith("{") and name in line)
        return [line for line in lines if line["event"] == "request"]

    (line,) = until(found)
    return line


@pytest.mark.parametrize("stream", [False, True])
def test_a_line_says_who_answered_for_whom_at_what_cost(
    gateway: GatewayProcess, fake: FakeUpstream, stream: bool
) -> None:
    """Of a stream as of a whole answer."""
    reply = ask(gateway, CHAT, {**SAID, "stream": stream})
    line = line_of(gateway, reply)
    assert line["decision"] == reply.headers["x-conduit-decision"]
    assert line["model"] == reply.headers["x-conduit-model"]
    assert (line["status"], line["outcome"], line["attempts"]) == (200, "answered", 1)
    assert (line["input_tokens"], line["output_tokens"], line["key"]) == (7, 3, "api_key")
    assert line["cost_usd"] == pytest.approx(3e-6 if line["model"] == "cheap" else 3e-4)
    assert 0 <= line["upstream_ms"] <= line["duration_ms"]
    assert ("first_byte_ms" in line) == stream


def test_a_line_says_who_failed(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """In words of ours."""
    fake.plan("cheap", refuses(500))
    fake.plan("dear", says())
    body = {**SAID, "conduit": {"preferences": "cost"}}
    lines = [line_of(gateway, ask(gateway, CHAT, body)) for _ in range(3)]
    assert ["cheap: http 500"] in [line.get("failed") for line in lines]


def test_refusals_have_a_line_too(gateway: GatewayProcess) -> None:
    """Whoever refused: the door, the size limit, the router, the route."""
    assert line_of(gateway, gateway.post(CHAT, SAID))["code"] == "authentication_required"
    assert line_of(gateway, ask(gateway, "/v1/complete", {"prompt": "x" * 20_000}))["code"] == "request_too_large"
    assert line_of(gateway, ask(gateway, CHAT, {**SAID, "model": "no-such"}))["code"] == "not_found"
    assert line_of(gateway, ask(gateway, CHAT, {**SAID, "messages": []}))["code"] == "invalid_request"
    assert line_of(gateway, ask(gateway, f"/v1/{'x' * 500}", {}))["path"] == f"/v1/{'x' * 196}"


def test_probes_do_not_fill_the_log(gateway: GatewayProcess) -> None:
    """Their successes are debugging."""
    probe = gateway.get("/health/live")
    line_of(gateway, ask(gateway, CHAT, SAID))  # a later line
    assert probe.headers["x-request-id"] not in gateway.said


def test_payloads_are_kept_redacted_for_who_asked_for_that(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """Both sides, of a stream too; and not of callers whose key is not named."""
    fake.plan("*", says("Written to jane@mail.example as you wished."))
    replies = [ask(gateway, CHAT, {**SAID, "stream": stream}) for stream in (False, True)]
    names = [reply.headers["x-request-id"] for reply in replies]

    def kept() -> list[dict[str, Any]]:
        lines = [
            json.loads(line)
            for path in (gateway.folder / "payloads").iterdir()
            for line in path.read_text().splitlines()
        ]
        found = [line for line in lines if line["request_id"] in names]
        return found if len(found) == 2 else []

    for line, name in zip(until(kept), names, strict=True):
        assert (line["request_id"], line["status"], line["key"]) == (name, 200, "api_key")
        assert line["decision"]
        assert line["request"]["messages"][0]["content"] == f"{MARK} mail me at [email]"
        assert "Written to [email] as you wished." in str(line["answer"])
