"""What callers do on the wire that is unusual and allowed, or not allowed: each has its right answer."""

from collections.abc import Iterator

import orjson
import pytest

from tests.support.gateway import GatewayProcess, declared
from tests.support.raw_client import RawClient
from tests.support.stub_provider import StubProvider

CHAT = "/v1/chat/completions"
LONG = "as long as several packets. " * 20_000


def asking(text: str) -> bytes:
    return orjson.dumps({"model": "one", "messages": [{"role": "user", "content": text}]})


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(stub.base_url, {"one": 1.0})
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, command="conduit serve") as running:
        yield running


# ------------------------------------------------------------------ an offer of another protocol

H2C = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA")
WEBSOCKET = (
    "connection: keep-alive, Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: eA==",
)
TLS = ("Connection: upgrade", "Upgrade: TLS/1.0, HTTP/2.0")


def head(*lines: str, method: str = "POST", path: str = CHAT) -> bytes:
    usual = [f"{method} {path} HTTP/1.1", "host: localhost", "content-type: application/json"]
    return "\r\n".join([*usual, *lines, "", ""]).encode()


def whole(body: bytes, *lines: str) -> bytes:
    return head(f"content-length: {len(body)}", *lines) + body


def chunked(body: bytes, *lines: str, size: int = 1000) -> bytes:
    pieces = (body[i : i + size] for i in range(0, len(body), size))
    told = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head("transfer-encoding: chunked", *lines) + told + b"0\r\n\r\n"


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET, TLS], ids=["15 h2c", "15 websocket", "15 TLS"])
@pytest.mark.parametrize("text", ["short", LONG], ids=["short", "long"])
@pytest.mark.parametrize("how", [whole, chunked])
def test_an_offer_of_another_protocol_is_passed_over(
    gateway: GatewayProcess, stub: StubProvider, how: object, offer: tuple[str, ...], text: str
) -> None:
    assert callable(how)
    stub.forget()
    with RawClient(gateway.port) as client:
        for _ in range(2):  # on one connection
            client.send(how(asking(text), *offer))
            assert client.reply().status == 200
    assert [asked.json["messages"][0]["content"] for asked in stub.of("one")] == [text, text]


@pytest.mark.parametrize("how", [whole, chunked], ids=["15 whole", "15 chunked"])
@pytest.mark.parametrize("size", [1, 7, 200])
def test_an_offer_in_pieces(gateway: GatewayProcess, stub: StubProvider, how: object, size: int) -> None:
    assert callable(how)
    stub.forget()
    raw = how(asking("in pieces"), *H2C)
    with RawClient(gateway.port) as client:
        for i in range(0, len(raw), size):
            client.send(raw[i : i + size])
        assert client.reply().status == 200
    assert [asked.json["messages"][0]["content"] for asked in stub.of("one")] == ["in pieces"]


def test_15_an_offer_whose_body_waits_to_be_asked_for(gateway: GatewayProcess) -> None:
    body = asking("after a while")
    with RawClient(gateway.port) as client:
        client.send(head(f"content-length: {len(body)}", "expect: 100-continue", *H2C))
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(body)
        assert client.reply().status == 200


def test_15_requests_behind_an_offer(gateway: GatewayProcess, stub: StubProvider) -> None:
    """All in one piece: with a body and without, each offering, and none."""
    stub.forget()
    listed = head(*H2C, method="GET", path="/v1/models")
    offered, plain = whole(asking("offered"), *H2C), whole(asking("plain"))
    with RawClient(gateway.port) as client:
        client.send(listed + offered + plain + chunked(asking("in chunks"), *H2C) + listed)
        assert [client.reply().status for _ in range(5)] == [200] * 5
    assert [asked.json["messages"][0]["content"] for asked in stub.of("one")] == ["offered", "plain", "in chunks"]


@pytest.mark.parametrize(
    "lines",
    [
        ("content-length: 5", "transfer-encoding: chunked"),
        ("content-length: 5", "content-length: 6"),
        ("transfer-encoding: gzip",),
        ("content-length: x",),
    ],
    ids=["15 both lengths", "15 two lengths", "15 no chunks", "15 no number"],
)
def test_control_an_offer_makes_no_bent_length_right(gateway: GatewayProcess, lines: tuple[str, ...]) -> None:
    with RawClient(gateway.port) as client:
        client.send(head(*lines, *H2C) + b"5\r\nhello\r\n0\r\n\r\n")
        assert client.reply().status == 400
        assert client.receive() == b""


# ------------------------------------------------------------------ whose request it is


def asked_by(lines: list[str], *, version: str = "1.1", path: str = "/v1/models") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("version", "lines", "status"),
    [
        ("1.1", [], 400),
        ("1.1", ["x-host: localhost"], 400),
        ("1.1", ["host: localhost", "host: localhost"], 400),
        ("1.1", ["Host: localhost", "x: y", "hOST: evil.example"], 400),
        ("1.0", ["host: localhost", "host: other"], 400),
        ("1.1", ["host: localhost"], 200),
        ("1.1", ["host:"], 200),
        ("1.0", [], 200),
        ("1.0", ["host: localhost"], 200),
    ],
    ids=[
        "41 no host",
        "41 another header",
        "41 two hosts",
        "41 two hosts that differ",
        "41 two hosts in 1.0",
        "41 control: one host",
        "41 control: an empty host",
        "41 control: no host in 1.0",
        "41 control: one host in 1.0",
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/health/live"])
def test_a_request_has_one_host(
    gateway: GatewayProcess, version: str, lines: list[str], status: int, path: str
) -> None:
    with RawClient(gateway.port) as client:
        client.send(asked_by(lines, version=version, path=path))
        reply = client.reply()
    assert reply.status == status
    assert status == 200 or "Host" in reply.json["error"]["message"]


KEY = "a-key-that-is-asked-for"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """With a key, and room for few requests."""
    env = {"API_KEY": KEY, "API_RATE_LIMIT": "30", "API_FAILED_AUTH_LIMIT": "9", "API_TOKEN_LIMIT": "100000"}
    with GatewayProcess(tmp_path_factory.mktemp("keyed"), env=env, command="conduit serve") as running:
        yield running


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([f"authorization: Bearer {KEY}"], 200),
        ([f"authorization: Bearer {KEY} "], 200),
        ([f"authorization: Bearer {KEY}\t"], 200),
        ([f"authorization: Bearer {KEY} \t "], 200),
        ([f"authorization: Bearer  {KEY}"], 200),
        ([f"authorization:Bearer {KEY}"], 200),
        ([f"Authorization: \t BEARER {KEY}"], 200),
        ([f"authorization: Bearer {KEY}", f"authorization: Bearer {KEY}"], 401),
        (["authorization:"], 401),
        (["authorization: Bearer"], 401),
        ([f"authorization: Bearer {KEY[:9]} {KEY[9:]}"], 401),
        ([f"authorization: Basic {KEY}"], 401),
    ],
    ids=[
        "41 control: as it should be",
        "41 control: a blank behind it",
        "41 a tab behind it",
        "41 blanks and a tab behind it",
        "41 control: two blanks before it",
        "41 control: no blank behind the colon",
        "41 control: a tab before it",
        "41 control: twice",
        "41 control: nothing",
        "41 control: no key",
        "41 control: a blank in the key",
        "41 control: another scheme",
    ],
)
def test_blanks_around_a_key_are_not_its_own(keyed: GatewayProcess, lines: list[str], status: int) -> None:
    with RawClient(keyed.port) as client:
        client.send(asked_by(["host: localhost", *lines]))
        assert client.reply().status == status


def test_28_limits_name_their_settings(keyed: GatewayProcess) -> None:
    good = {"authorization": f"Bearer {KEY}"}
    hello = {"model": "auto", "n": 100, "max_tokens": 10_000, "messages": [{"role": "user", "content": "hi"}]}
    told = ""
    for _ in range(40):
        reply = keyed.post(CHAT, hello if "API_TOKEN_LIMIT" not in told else {}, good)
        told += reply.json["error"]["message"] if reply.status == 429 else ""
    assert "API_RATE_LIMIT" in told
    for _ in range(20):
        reply = keyed.get("/v1/models", {"authorization": "Bearer wrong"})
    assert reply.status == 429
    assert "API_FAILED_AUTH_LIMIT" in reply.json["error"]["message"]


# ------------------------------------------------------------------ old versions


@pytest.mark.parametrize("more", [(), ("connection: keep-alive",), ("connection: close",)], ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["control: whole", "stream"])
def test_http_1_0_gets_no_chunks(gateway: GatewayProcess, more: tuple[str, ...], stream: bool) -> None:
    """It does not know them: where there is no length the connection's end is the end."""
    body = {"model": "one", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    with RawClient(gateway.port) as client:
        client.post(CHAT, body, *more, version="1.0")
        reply = client.reply()
        assert client.receive() == b""
    assert reply.status == 200
    assert "transfer-encoding" not in reply.headers
    assert reply.headers["connection"] == "close"
    assert b"Hello." in reply.body
    if stream:
        assert reply.body.startswith(b"data: ")
        assert reply.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "first",
    [
        "GET / HTTP/2.0",
        pytest.param("PRI * HTTP/2.0", id="control: PRI"),
        "GET /",
        "GET / HTTP/0.9",
        pytest.param("GET / HTTP/1.1 x", id="control: words behind the version"),
    ],
)
def test_versions_that_nobody_speaks_here_are_refused(gateway: GatewayProcess, first: str) -> None:
    with RawClient(gateway.port) as client:
        client.send(f"{first}\r\nhost: localhost\r\n\r\n".encode())
        assert client.reply().status == 400
