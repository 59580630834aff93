"""While no key is asked for, pages of other sites cannot spend this machine's money; others notice nothing."""

from collections.abc import Iterator, Mapping

import pytest

from tests.support.gateway import GatewayProcess, problem
from tests.support.raw_client import RawClient, RawReply

CHAT = "/v1/chat/completions"
ASKING = b'{"model": "auto", "messages": [{"role": "user", "content": "hello"}]}'
APP = "https://app.example.com"
JSON = {"content-type": "application/json"}
EVIL = "https://evil.example"
HOST, ORIGIN, TYPE = "foreign_host", "foreign_origin", "unsupported_media_type"
CURES = ("API_ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "Content-Type")
KEY = "a-key-that-is-asked-for"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    env = {
        "CORS_ALLOWED_ORIGINS": APP,
        "API_ALLOWED_HOSTS": "gateway.example.com, *.corp.example.com",
        "SANDBOX_TIME_SCALE": "0",
    }
    with GatewayProcess(tmp_path_factory.mktemp("open"), env=env, command="conduit serve") as running:
        yield running


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    env = {"API_KEY": KEY, "SANDBOX_TIME_SCALE": "0"}
    with GatewayProcess(tmp_path_factory.mktemp("keyed"), env=env, command="conduit serve") as running:
        yield running


def sent(
    gateway: GatewayProcess,
    headers: Mapping[str, str],
    *,
    method: str = "POST",
    path: str = CHAT,
    body: bytes = ASKING,
) -> RawReply:
    named = {"host": f"localhost:{gateway.port}", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    lines += [f"content-length: {len(body)}"] if method == "POST" else []
    with RawClient(gateway.port) as client:
        client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body if method == "POST" else b""))
        return client.reply()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/plain", "origin": EVIL}, 403, ORIGIN),
        ({**JSON, "origin": EVIL}, 403, ORIGIN),
        ({**JSON, "origin": "null"}, 403, ORIGIN),
        ({**JSON, "origin": ""}, 403, ORIGIN),
        ({**JSON, "origin": "http://localhost:1"}, 403, ORIGIN),
        ({**JSON, "origin": "http://localhost.evil.example"}, 403, ORIGIN),
        ({**JSON, "sec-fetch-site": "cross-site"}, 403, ORIGIN),
        ({**JSON, "sec-fetch-site": "same-site"}, 403, ORIGIN),
        ({**JSON, "host": "evil.example"}, 403, HOST),
        ({**JSON, "host": "evil.example:8000", "origin": "http://evil.example:8000"}, 403, HOST),
        ({**JSON, "host": "127.0.0.1.evil.example"}, 403, HOST),
        ({**JSON, "host": "evilcorp.example.com"}, 403, HOST),
        ({**JSON, "host": "notlocalhost.com"}, 403, HOST),
        ({"content-type": "text/plain"}, 415, TYPE),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, TYPE),
        ({"content-type": "multipart/form-data; boundary=x"}, 415, TYPE),
        ({"content-type": "text/plain; application/json"}, 415, TYPE),
        ({"content-type": ""}, 415, TYPE),
        ({}, 415, TYPE),
    ],
    ids=lambda value: f"33 {value}",
)
def test_what_a_page_of_another_site_sends_is_refused(
    gateway: GatewayProcess, headers: Mapping[str, str], status: int, code: str
) -> None:
    reply = sent(gateway, headers)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert any(
        named in reply.json["error"]["message"] for named in ("API_ALLOWED_HOSTS", "CORS_ALLOWED", "Content-Type")
    )


@pytest.mark.parametrize(
    "headers",
    [
        JSON,
        {"content-type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {**JSON, "origin": APP, "sec-fetch-site": "cross-site"},
        {**JSON, "sec-fetch-site": "same-origin"},
        {**JSON, "sec-fetch-site": "none"},
        {**JSON, "host": "localhost", "origin": "http://localhost"},
        {**JSON, "host": "LOCALHOST:8000", "origin": "http://localhost:8000"},
        {**JSON, "host": "conduit:8000"},
        {**JSON, "host": "conduit.ai.svc.cluster.local:8000"},
        {**JSON, "host": "host.docker.internal:8000"},
        {**JSON, "host": "app.localhost:8000"},
        {**JSON, "host": "127.0.0.1:8000"},
        {**JSON, "host": "10.3.2.1"},
        {**JSON, "host": "[::1]:8000"},
        {**JSON, "host": "[fd00::1]"},
        {**JSON, "host": "gateway.example.com"},
        {**JSON, "host": "Gateway.Example.com.:443", "origin": "https://gateway.example.com.:443"},
        {**JSON, "host": "eu.corp.example.com"},
    ],
    ids=str,
)
def test_control_who_is_no_such_page_is_answered(gateway: GatewayProcess, headers: Mapping[str, str]) -> None:
    assert sent(gateway, headers).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/stats", "/v1/decisions"])
def test_33_what_others_asked_is_not_read_under_a_foreign_name(gateway: GatewayProcess, path: str) -> None:
    assert sent(gateway, {}, method="GET", path=path).status == 200
    for headers in ({"host": "evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        assert sent(gateway, headers, method="GET", path=path).status == 403


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/dashboard"])
def test_control_probes_scrapes_and_the_page_are_answered_under_any_name(gateway: GatewayProcess, path: str) -> None:
    assert sent(gateway, {"host": "conduit.example.org"}, method="GET", path=path).status == 200


def test_control_the_pages_own_requests_are_answered(gateway: GatewayProcess) -> None:
    """As a browser sends them for /dashboard."""
    same = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    assert sent(gateway, same, method="GET", path="/v1/stats").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {**JSON, "origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {**JSON, "host": "gateway.example.org"},
        {},
    ],
    ids=str,
)
def test_control_where_a_key_is_asked_for_it_is_enough(keyed: GatewayProcess, headers: Mapping[str, str]) -> None:
    """No page knows it."""
    assert sent(keyed, {**headers, "authorization": f"Bearer {KEY}"}).status == 200
    assert sent(keyed, headers).status == 401


def test_18_what_is_said_of_an_answer_can_be_read_by_pages(gateway: GatewayProcess) -> None:
    """All headers of ours that there are, and what clients look for."""
    reply = sent(gateway, {**JSON, "origin": APP})
    exposed = {name.strip() for name in reply.headers["access-control-expose-headers"].lower().split(",")}
    ours = {name for name in reply.headers if name.startswith(("x-conduit-", "x-ratelimit-", "x-request-"))}
    assert {"x-conduit-propensity", "x-conduit-estimated-cost-usd"} <= ours
    assert ours | {"x-conduit-attempts", "x-conduit-shadow-price", "x-should-retry", "retry-after"} <= exposed


def test_a_refusal_is_in_the_envelope(gateway: GatewayProcess) -> None:
    problem(gateway.post(CHAT, {}, {"origin": "https://evil.example"}), 403, "foreign_origin")
