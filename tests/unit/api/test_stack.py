"""The stack as settings build it, in front of the real routes."""

from pathlib import Path
from typing import Any

import pytest

from conduit.api.auth import Authentication
from conduit.api.boundary import ErrorBoundary
from conduit.api.middleware import RequestContext, middleware
from conduit.api.payloads import PayloadTap
from conduit.api.peer import TrustedProxies
from conduit.api.ratelimit import RateLimit
from conduit.api.sizelimit import SizeLimit
from conduit.api.throttle import FailedAuthThrottle
from conduit.core.config import make_settings
from conduit.core.events import nobody
from conduit.core.keys import Limits
from conduit.observability.logging.payloads import PayloadLog
from conduit.observability.logging.redaction import Redactor
from conduit.testing import CountingIds, StillClock
from tests.unit.api.inprocess import OWN, Inside, bearer, running

CHAT = "/v1/chat/completions"
PROMPT = {"prompt": "What is 2 + 2?"}
PAGE = (b"origin", b"https://app.example.com")
ENV = {
    "API_KEY": OWN,
    "API_RATE_LIMIT": "4",
    "API_MAX_REQUEST_SIZE": "100",
    "API_MAX_CHAT_SIZE": "1000",
    "API_BODY_TIMEOUT_S": "0.05",
    "API_FAILED_AUTH_LIMIT": "3",
    "CORS_ALLOWED_ORIGINS": "https://app.example.com",
    "TRUSTED_PROXIES": "10.0.0.0/8",
}


def layers(*, payloads: PayloadLog | None = None, **environ: str) -> dict[Any, dict[str, Any]]:
    """Class -> what it is made with."""
    settings = make_settings(file={}, environ=environ)
    found = middleware(settings, clock=StillClock(), ids=CountingIds(), listener=nobody, payloads=payloads)
    return {layer.cls: dict(layer.kwargs) for layer in found}


def test_each_layer_is_made_with_its_own_settings() -> None:
    made = layers(**ENV, API_PROTECTED_PREFIXES="/v1/,/metrics", API_TOKEN_HOLD="77")
    size = made[SizeLimit]
    assert (size["small"], size["large"], size["body_s"]) == (100, 1000, 0.05)
    assert made[FailedAuthThrottle]["limit"] == 3
    assert made[Authentication]["protected_prefixes"] == ("/v1/", "/metrics")
    limit = made[RateLimit]
    assert (limit["usual"], limit["unsaid_tokens"]) == (Limits(requests_per_minute=4), 77)
    assert [str(network) for network in made[TrustedProxies]["trusted"]] == ["10.0.0.0/8"]
    for layer in (RequestContext, SizeLimit):
        assert isinstance(made[layer]["clock"], StillClock)
    for layer in (RequestContext, FailedAuthThrottle, RateLimit):
        assert isinstance(made[layer]["ids"], CountingIds)
    assert ErrorBoundary in made
    assert PayloadTap not in made


@pytest.mark.parametrize(
    ("environ", "limits"),
    [
        ({}, Limits(requests_per_minute=100)),
        ({"API_RATE_LIMIT": "0"}, Limits()),
        ({"API_TOKEN_LIMIT": "9", "API_CONCURRENT_LIMIT": "2"}, Limits(100, 9, 2)),
    ],
)
def test_a_limit_of_nought_is_none(environ: dict[str, str], limits: Limits) -> None:
    assert layers(**environ)[RateLimit]["usual"] == limits


def test_payloads_are_copied_where_there_is_a_place_for_them(tmp_path: Path) -> None:
    log = PayloadLog(tmp_path, days=1, most=9, redactor=Redactor([]), clock=StillClock(), listener=nobody)
    made = layers(payloads=log, PAYLOAD_LOG_SHARE="0.25", PAYLOAD_LOG_KEYS="a, b")
    assert list(made)[-1] is PayloadTap
    tap = made[PayloadTap]
    assert (tap["share"], tap["keys"], tap["log"]) == (0.25, frozenset({"a", "b"}), log)


# ------------------------------------------------------------------ in front of the routes


async def test_the_door_the_sizes_and_the_limits_hold_together(tmp_path: Path) -> None:
    """One gateway for all of them: it is what takes the time."""
    async with running(tmp_path, **ENV) as gateway:
        await _sizes(gateway)
        await _the_door(gateway)
        await _who_counts(gateway)


async def _sizes(gateway: Inside) -> None:
    """Small bodies everywhere but where conversations come; a body that stalls is given up."""
    refused = await gateway.call("POST", "/v1/complete", b"x" * 60, b"x" * 60, headers=[bearer(), PAGE])
    assert (refused.status, refused.code, refused["connection"]) == (413, "request_too_large", "close")
    assert (refused.json["max_size"], refused.json["actual_size"]) == (100, 120)
    assert refused["access-control-allow-origin"] == "https://app.example.com"
    assert refused["x-content-type-options"] == "nosniff"
    messages = [{"role": "user", "content": "x" * 500}]
    assert (await gateway.post(CHAT, {"model": "auto", "messages": messages}, bearer())).status == 200
    assert (await gateway.call("POST", CHAT, b"x" * 1001, headers=[bearer()])).status == 413
    slow = await gateway.call("POST", "/v1/complete", b"{", headers=[bearer()], stalls=True)
    assert (slow.status, slow.code) == (408, "request_timeout")


async def _the_door(gateway: Inside) -> None:
    """Who tries wrong keys must wait; from elsewhere the right one opens."""
    assert (await gateway.get("/v1/models", client="198.51.100.1")).code == "authentication_required"
    wrong = [(await gateway.get("/v1/models", bearer("wrong"), client="198.51.100.1")).status for _ in range(5)]
    assert wrong == [401, 401, 401, 429, 429]
    assert (await gateway.get("/health/live", client="198.51.100.1")).status == 200
    behind = (b"x-forwarded-for", b"198.51.100.1")
    assert (await gateway.get("/v1/models", bearer("wrong"), behind, client="10.0.0.1")).status == 429
    assert (await gateway.get("/v1/models", bearer("wrong"), client="10.0.0.1")).status == 401


async def _who_counts(gateway: Inside) -> None:
    """Four requests a minute of each caller: the operators' have been used up by sizes."""
    refused = await gateway.get("/v1/models", bearer(), PAGE)
    assert (refused.status, refused.code, refused["x-ratelimit-limit"]) == (429, "rate_limit_exceeded", "4")
    assert refused["access-control-allow-origin"] == "https://app.example.com"
    assert (await gateway.get("/metrics")).all("x-ratelimit-limit") == []


async def test_a_burst_takes_no_more_tokens_than_fit(tmp_path: Path) -> None:
    """Of chats, prompts and embeddings alike: what each may take is set aside before a model is asked."""
    async with running(tmp_path, API_TOKEN_LIMIT="300", API_TOKEN_HOLD="1000") as gateway:
        said = [{"role": "user", "content": "hi"}]
        chat: dict[str, object] = {"model": "auto", "messages": said, "max_tokens": 299}
        model = (await gateway.get("/v1/models")).json["models"][1]
        bodies = [("/v1/embeddings", {"model": model, "input": "x" * 2000}), ("/v1/complete", PROMPT), (CHAT, chat)]
        for peer, (path, body) in enumerate(bodies):
            client = f"192.0.2.{peer}"
            first = await gateway.post(path, body, client=client)
            assert first.status == 200, first.json
            refused = await gateway.post(path, body, client=client)
            assert (refused.status, refused.code) == (429, "rate_limit_exceeded"), path
            assert refused.json["limit"] == 300
            assert refused.json["current"] > 0
            assert int(refused["retry-after"]) == refused.json["retry_after"] > 0


async def test_a_key_sees_its_own_figures_and_an_admin_everybodys(tmp_path: Path) -> None:
    async with running(tmp_path, API_KEY=OWN, BUDGET_USD_PER_DAY="5") as gateway:
        made = [(await gateway.post("/v1/keys", {"name": name}, bearer())).json for name in ("one", "other")]
        one, other = (bearer(key["secret"]) for key in made)
        for caller in (one, one, bearer()):
            assert (await gateway.post("/v1/complete", PROMPT, caller)).status == 200
        assert (await gateway.get("/v1/stats", one)).json["total_queries"] == 2
        assert (await gateway.get("/v1/stats", other)).json["total_queries"] == 0
        assert "budgets" not in (await gateway.get("/v1/stats", one)).json
        everybodys = (await gateway.get("/v1/stats", bearer())).json
        assert (everybodys["total_queries"], len(everybodys["budgets"])) == (3, 1)
        for caller, status, queries in ((bearer(), 200, 2), (one, 200, 2), (other, 404, None)):
            answer = await gateway.get("/v1/stats", caller, query=f"key={made[0]['id']}")
            assert (answer.status, answer.json.get("total_queries")) == (status, queries)


async def test_json_may_be_nested_only_so_deep(tmp_path: Path) -> None:
    async with running(tmp_path, API_MAX_REQUEST_SIZE="1000000") as gateway:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            deep = opening * 100_000 + b"1" + closing * 100_000
            for path in ("/v1/complete", CHAT, "/v1/feedback"):
                answer = await gateway.call("POST", path, deep)
                assert (answer.status, answer.code) == (400, "invalid_request")
        for depth, status in ((198, 200), (199, 400)):
            context = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
            answer = await gateway.call("POST", "/v1/complete", b'{"prompt": "hi", "context": ' + context + b"}")
            assert answer.status == status
