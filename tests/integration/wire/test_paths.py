"""A path that is not there is 404 whatever comes with it, and the answer says what to use instead."""

from collections.abc import Iterator

import pytest

from tests.support.gateway import GatewayProcess, problem
from tests.support.raw_client import RawClient

CHAT = "/v1/chat/completions"
SMALL, LARGE, HUGE = b"{}", b"x" * 50_000, b"x" * 9_000_000
KEY = "a-key-that-is-asked-for"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), env={"SANDBOX_TIME_SCALE": "0"}) as running:
        yield running


@pytest.mark.parametrize("body", [SMALL, LARGE, HUGE], ids=["24 small", "24 large", "24 huge"])
@pytest.mark.parametrize(
    ("path", "use"),
    [
        ("/chat/completions", f"use POST {CHAT}"),
        ("/v1/v1/chat/completions", f"use POST {CHAT}"),
        ("/openai/v1/chat/completions", f"use POST {CHAT}"),
        ("/api/v1/chat/completions", f"use POST {CHAT}"),
        ("/v1/chat/completions/", f"use POST {CHAT}"),
        ("//v1/chat/completions", f"use POST {CHAT}"),
        ("/v1//chat/completions", f"use POST {CHAT}"),
        ("/embeddings", "use POST /v1/embeddings"),
        ("/v1/responses", "POST /v1/responses is not offered"),
        ("/responses", "is not offered"),
        ("/v1/completions", "is not offered"),
        ("/v1/messages", "is not offered"),
        ("/v1/audio/transcriptions", "is not offered"),
        ("/api/chat", "is not offered"),
        ("/v1/no-such-thing", f"POST {CHAT}"),
        ("/" + "x" * 3000, f"POST {CHAT}"),
        ("/%00%ff", f"POST {CHAT}"),
    ],
)
def test_a_path_that_is_not_there(gateway: GatewayProcess, path: str, use: str, body: bytes) -> None:
    told = problem(gateway.post(path, body), 404, "not_found")["error"]
    assert told["message"].startswith("no such path: POST /")
    assert use in told["message"]
    assert "model" not in told["message"].replace("/v1/models", "")
    assert len(told["message"]) < 500


@pytest.mark.parametrize("path", ["/models", "/v1/models/", "//v1/models", "/v1/v1/models"])
def test_24_a_list_that_is_not_there(gateway: GatewayProcess, path: str) -> None:
    told = problem(gateway.get(path), 404, "not_found")["error"]["message"]
    assert "use GET /v1/models (" in told


def test_24_a_connection_goes_on_behind_it(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port) as client:
        for _ in range(2):
            client.post("/chat/completions", LARGE)
            assert client.reply().status == 404
        client.post(CHAT, {"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
        assert client.reply().status == 200


def test_24_a_method_that_is_not_there_is_told_which_are(gateway: GatewayProcess) -> None:
    told = problem(gateway.get(CHAT), 405, "method_not_allowed")["error"]["message"]
    assert CHAT in told
    assert "POST" in told


@pytest.mark.parametrize(
    ("path", "size", "setting"),
    [
        (CHAT, 8_000_001, "API_MAX_CHAT_SIZE"),
        ("/v1/embeddings", 8_000_001, "API_MAX_CHAT_SIZE"),
        ("/v1/complete", 10_001, "API_MAX_REQUEST_SIZE"),
        ("/v1/feedback", 10_001, "API_MAX_REQUEST_SIZE"),
    ],
    ids=["28 chat", "28 embeddings", "28 complete", "28 feedback"],
)
def test_a_body_too_large_names_its_setting(gateway: GatewayProcess, path: str, size: int, setting: str) -> None:
    assert setting in problem(gateway.post(path, b"x" * size), 413, "request_too_large")["error"]["message"]
    in_chunks = (b"x" * 10_000 for _ in range(size // 10_000 + 1))
    reply = gateway.send("POST", path, in_chunks)
    assert setting in problem(reply, 413, "request_too_large")["error"]["message"]


@pytest.mark.parametrize("name", ["auto", "18 other"])
def test_a_model_can_be_looked_up(gateway: GatewayProcess, name: str) -> None:
    listed = {each["id"]: each for each in gateway.get("/v1/models").json["data"]}
    name = name if name in listed else next(each for each in listed if "/" in each or each != "auto")
    reply = gateway.get(f"/v1/models/{name}")
    assert (reply.status, reply.json) == (200, listed[name])


@pytest.mark.parametrize("name", ["nobody", "no/body", "no%2Fbody", "x" * 1000])
def test_18_a_model_that_is_not_there(gateway: GatewayProcess, name: str) -> None:
    told = problem(gateway.get(f"/v1/models/{name}"), 404, "not_found")["error"]
    assert told["message"].startswith("no model is called 'no") or "xxx" in told["message"]


def test_a_key_comes_before_a_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Who has none learns of /v1/ nothing."""
    with GatewayProcess(tmp_path_factory.mktemp("keyed"), env={"API_KEY": KEY}) as keyed:
        problem(keyed.post("/v1/nothing", HUGE), 401, "authentication_required")
        problem(keyed.get("/v1/models/auto"), 401, "authentication_required")
        problem(keyed.post("/v1/nothing", HUGE, {"authorization": f"Bearer {KEY}"}), 404, "not_found")
