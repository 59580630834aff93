"""Every layer of the stack, alone and together, over real sockets and a real Valkey."""

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conduit.api.app import create_app
from conduit.api.auth import Authentication
from conduit.api.boundary import ErrorBoundary
from conduit.api.headers import CrossOrigin
from conduit.api.middleware import RequestContext
from conduit.api.opendoor import OpenDoor
from conduit.api.peer import TrustedProxies
from conduit.api.ratelimit import RateLimit
from conduit.api.sizelimit import SizeLimit
from conduit.api.throttle import FailedAuthThrottle
from conduit.core.config import make_settings
from tests.support.gateway import Command, GatewayProcess, Reply, problem, until
from tests.support.valkey import ValkeyServer, valkey

__all__ = ["valkey"]

OWN = "operators-own-key-marked-77aa"
KEY = {"authorization": f"Bearer {OWN}"}
PAGE = "https://app.example.com"
PROMPT = {"prompt": "What is 2 + 2?"}
SECURITY = ("x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy", "cache-control")


def test_the_stack_is_the_declared_one() -> None:
    app = create_app(make_settings(file={}, environ={}), {})
    layer, found = app.build_middleware_stack(), []
    while layer is not None:
        found.append(type(layer))
        layer = getattr(layer, "_app", None) or getattr(layer, "app", None)
    declared = [
        RequestContext,
        TrustedProxies,
        CrossOrigin,
        ErrorBoundary,
        SizeLimit,
        FailedAuthThrottle,
        Authentication,
        OpenDoor,
        RateLimit,
    ]
    assert found[: len(declared)] == declared


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """With a key, a page that may call, and room for eight requests a minute of each caller."""
    env = {
        "API_KEY": OWN,
        "API_RATE_LIMIT": "8",
        "CORS_ALLOWED_ORIGINS": PAGE,
        "SANDBOX_TIME_SCALE": "0",
        "TRUSTED_PROXIES": "10.0.0.0/8",
    }
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), env=env) as gateway:
        yield gateway


def made_key(gateway: GatewayProcess, name: str, **limits: int) -> dict[str, str]:
    """The header of a new key, whose requests are its own: of the operator's there are few."""
    reply = gateway.post("/v1/keys", {"name": name, "limits": limits}, KEY)
    assert reply.status == 201, reply.body
    return {"authorization": f"Bearer {reply.json['secret']}"}


def forwarded(_: int) -> dict[str, str]:
    """Of a caller behind a proxy on this machine, whom nobody has counted yet."""
    return {"x-forwarded-for": "203.0.113.7"}


def guarded(reply: Reply) -> bool:
    return all(name in reply.headers for name in (*SECURITY, "x-request-id"))


def test_rejections_of_every_layer_have_the_headers_of_all(gateway: GatewayProcess) -> None:
    """A page can read why it was refused."""
    key = made_key(gateway, "refused", requests_per_minute=1) | {"origin": PAGE}
    replies = {
        401: gateway.post("/v1/complete", PROMPT, {"origin": PAGE}),
        413: gateway.post("/v1/complete", {"prompt": "x" * 20_000}, key),
        404: gateway.get("/v1/nothing", key),
        429: gateway.post("/v1/complete", PROMPT, key),
    }
    for status, reply in replies.items():
        assert reply.status == status, reply.body
        assert guarded(reply), reply.headers
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_a_preflight_needs_no_key_and_is_not_counted(gateway: GatewayProcess) -> None:
    asked = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for _ in range(12):
        reply = gateway.send("OPTIONS", "/v1/chat/completions", None, asked)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert "authorization" in reply.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in reply.headers


def test_a_browser_may_send_what_openai_s_client_sends_and_who_may_not_is_told_in_the_envelope(
    gateway: GatewayProcess,
) -> None:
    wanted = "authorization,content-type,x-stainless-lang,x-stainless-retry-count"
    asked = {"origin": PAGE, "access-control-request-method": "HEAD", "access-control-request-headers": wanted}
    reply = gateway.send("OPTIONS", "/v1/models", None, asked)
    assert (reply.status, reply.headers["access-control-allow-headers"]) == (200, wanted)
    for wrong in ({"origin": "https://evil.example.com"}, {"access-control-request-method": "BREW"}):
        reply = gateway.send("OPTIONS", "/v1/models", None, asked | wrong)
        problem(reply, 400, "invalid_request")
        assert guarded(reply)
        assert ("access-control-allow-origin" in reply.headers) == ("origin" not in wrong)


def test_no_limit_stands_before_health(gateway: GatewayProcess) -> None:
    """Whatever is asked for there."""
    for _ in range(12):
        assert "x-ratelimit-limit" not in gateway.get("/health/nothing").headers
    assert gateway.get("/health/live", {f"x-{i}": "y" * 300 for i in range(80)}).status == 200
    assert gateway.post("/health/live", {"prompt": "x" * 20_000}).status == 405


def test_another_page_may_not_read_anything(gateway: GatewayProcess) -> None:
    reply = gateway.get("/health/live", {"origin": "https://evil.example.com"})
    assert reply.status == 200
    assert "access-control-allow-origin" not in reply.headers
    assert "origin" in reply.headers["vary"].lower()


def test_the_limit_counts_down_and_then_says_when(gateway: GatewayProcess) -> None:
    key = made_key(gateway, "counted", requests_per_minute=3)
    replies = [gateway.get("/v1/models", key) for _ in range(4)]
    assert [r.status for r in replies] == [200, 200, 200, 429]
    assert [r.headers["x-ratelimit-remaining"] for r in replies] == ["2", "1", "0", "0"]
    assert {r.headers["x-ratelimit-limit"] for r in replies} == {"3"}
    body = problem(replies[3], 429, "rate_limit_exceeded")
    assert (body["limit"], body["current"]) == (3, 3)
    assert 1 <= body["retry_after"] <= 60
    assert replies[3].headers["retry-after"] == str(body["retry_after"])


def test_tokens_are_limited_by_what_the_answers_took(gateway: GatewayProcess) -> None:
    key = made_key(gateway, "tokens", tokens_per_minute=10)
    assert gateway.post("/v1/complete", PROMPT, key).status == 200
    body = problem(gateway.post("/v1/complete", PROMPT, key), 429, "rate_limit_exceeded")
    assert body["limit"] == 10
    assert body["current"] > 10


def test_probes_are_never_limited(gateway: GatewayProcess) -> None:
    assert {gateway.get("/health/ready").status for _ in range(20)} == {200}


@pytest.mark.parametrize("command", ["uvicorn", "conduit serve"])
@pytest.mark.parametrize("tail", ["", ", ::1", ", 127.0.0.1"])
def test_who_forges_where_a_request_comes_from_stays_one_caller(tmp_path: Path, command: Command, tail: str) -> None:
    """The peer on this machine is no trusted proxy."""
    with GatewayProcess(tmp_path, command=command, env={"API_RATE_LIMIT": "20"}) as gateway:
        forged = [{"x-forwarded-for": f"10.9.8.{i}, 203.0.113.{i}{tail}"} for i in range(60)]
        replies = [gateway.get("/v1/models", headers) for headers in forged]
    assert [r.status for r in replies].count(200) == 20


@pytest.mark.parametrize(("trusted", "told"), [("127.0.0.1", True), ("10.0.0.0/8", False)])
def test_behind_a_named_proxy_that_speaks_tls_browsers_are_told_to_stay_with_it(
    tmp_path: Path, trusted: str, *, told: bool
) -> None:
    with GatewayProcess(tmp_path, command="conduit serve", env={"TRUSTED_PROXIES": trusted}) as gateway:
        reply = gateway.get("/v1/models", {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.7"})
    assert ("strict-transport-security" in reply.headers) is told


def test_a_slow_body_is_closed_while_others_are_served(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, env={"API_BODY_TIMEOUT_S": "1"}) as gateway:
        slow = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        slow.putrequest("POST", "/v1/complete")
        slow.putheader("content-length", "100")
        slow.putheader("content-type", "application/json")
        slow.endheaders()
        slow.send(b"{")
        assert gateway.post("/v1/complete", PROMPT).status == 200
        response = slow.getresponse()
        assert response.status == 408
        assert b"request_timeout" in response.read()
        slow.close()


# ------------------------------------------------------------------ many workers


def test_three_workers_hold_one_limit_lose_it_to_their_own_and_find_it_again(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    env = {"API_RATE_LIMIT": "40", "REDIS_URL": valkey.url, "REDIS_PATIENCE_S": "10", "TRUSTED_PROXIES": "127.0.0.1"}
    with GatewayProcess(tmp_path, workers=3, env=env) as gateway, ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: gateway.get("/v1/models"), range(200)))
        assert sorted({r.status for r in replies}) == [200, 429]
        assert [r.status for r in replies].count(200) == 40
        assert not any("x-conduit-degraded" in r.headers for r in replies)

        valkey.kill()
        replies = list(pool.map(lambda _: gateway.get("/v1/models"), range(200)))
        assert all(r.headers["x-conduit-degraded"] == "ratelimit" for r in replies)
        assert {r.status for r in replies} <= {200, 429}
        assert [r.status for r in replies].count(200) <= 2 * 40  # of workers that heard of the limit before it was full
        others = list(pool.map(lambda i: gateway.get("/v1/models", forwarded(i)), range(200)))
        assert {r.status for r in others} == {200, 429}
        assert [r.status for r in others].count(200) <= 3 * 40

        valkey.start()
        until(lambda: all("x-conduit-degraded" not in gateway.get("/v1/models").headers for _ in range(12)))
    assert '"what":"ratelimit","why":"the shared window did not answer: ' in gateway.said
