"""Too much, too deep, too odd: bodies, headers and numbers at and beyond every limit; nothing of them in the log."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import MARK
from tests.support.gateway import GatewayProcess, problem
from tests.support.scripts import refuses, streams
from tests.support.upstream import ANY_MODEL, FakeUpstream

CHAT, COMPLETE, ROUTE, FEEDBACK = "/v1/chat/completions", "/v1/complete", "/v1/route", "/v1/feedback"
SMALL, LARGE = 10_000, 8_000_000
LIMITS = {COMPLETE: SMALL, ROUTE: SMALL, FEEDBACK: SMALL, CHAT: LARGE}
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def gateway(survivor: GatewayProcess, fake: FakeUpstream) -> GatewayProcess:
    return survivor


def chunks(total: int, size: int = 65_536) -> Iterator[bytes]:
    for start in range(0, total, size):
        yield b" " * min(size, total - start)


# ------------------------------------------------------------------ too large


@pytest.mark.parametrize("path", LIMITS)
@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_too_many(gateway: GatewayProcess, path: str, chunked: bool) -> None:
    """413 with both sizes, also when nothing was declared."""
    body: Any = chunks(10_000_000) if chunked else b" " * 10_000_000
    told = problem(gateway.send("POST", path, body), 413, "request_too_large")
    assert told["max_size"] == LIMITS[path]
    assert LIMITS[path] < told["actual_size"] <= 10_000_000


@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_itself_is_not_too_large(gateway: GatewayProcess, chunked: bool) -> None:
    """To the byte."""
    for size, status in ((SMALL, 200), (SMALL + 1, 413)):
        raw = json.dumps({"prompt": "hi"}).encode().ljust(size)
        assert gateway.send("POST", COMPLETE, iter([raw[:7], raw[7:]]) if chunked else raw).status == status


@pytest.mark.parametrize("declared", ["-1", "abc", "1" * 5000, "5, 5", "0x10", "٣"])
def test_a_senseless_content_length_is_refused(gateway: GatewayProcess, declared: str) -> None:
    """By whoever sees it first, and never with an error of ours."""
    head = f"POST {COMPLETE} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {declared}\r\n\r\n{{}}"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(head.encode())
        client.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: client.recv(65_536), b""))
    assert said == b"" or said.split()[1] in {b"400", b"413"}, said[:200]


# ------------------------------------------------------------------ much, and still right


def test_thousands_of_messages_are_taken(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """And all of them reach the provider."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": f"{MARK} {i}"} for i in range(5001)]
    assert gateway.post(CHAT, {"model": "auto", "messages": messages}).status == 200
    assert fake.requests[0].json["messages"] == messages


def test_a_prompt_of_seven_megabytes_is_taken(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """Features read it in bounded time."""
    content = f"{MARK} ☂ \u0000 " * 180_000
    assert gateway.post(CHAT, {"model": "auto", "messages": [{"role": "user", "content": content}]}).status == 200
    assert fake.requests[0].json["messages"][0]["content"] == content


@pytest.mark.parametrize(
    "field",
    [
        '"seed": 123456789012345678901234567890',
        '"max_tokens": 1e400',
        '"max_tokens": -5',
        '"max_tokens": 99999999999999999999',
        '"max_completion_tokens": {"a": 1}',
        '"temperature": 1e308',
        '"tools": 7',
        '"response_format": "json"',
        '"response_format": {"type": {"a": []}}',
        '"stream_options": 7',
        '"stream_options": {"include_usage": "x"}, "stream": true',
        '"user": {"a": 1}',
        '"user": "\\u0000"',
        f'"user": "{"u" * 100_000}"',
        f'"metadata": {"[" * 900 + "]" * 900}',
        '"": ""',
        '"model": "auto"',
    ],
)
def test_odd_fields_are_the_providers_business(gateway: GatewayProcess, fake: FakeUpstream, field: str) -> None:
    """They are sent on, or refused as a mistake of the caller's; nothing of ours breaks."""
    raw = f'{{"model": "auto", "messages": [{{"role": "user", "content": "hi"}}], {field}}}'
    reply = gateway.post(CHAT, raw.encode())
    assert reply.status in {200, 400, 422}, reply.body[:300]
    if reply.status != 200:
        problem(reply, reply.status, "invalid_request")


@pytest.mark.parametrize(
    "text", ["\u0000", "\u0000" * 100, "a\u0000b", "\ufffe", "\U0010ffff", "\u202e", "e\u0301" * 90]
)
def test_odd_characters_are_text(gateway: GatewayProcess, text: str) -> None:
    """Everywhere where text may stand."""
    answer = gateway.post(COMPLETE, {"prompt": f"x{text}", "user_id": text[:200], "context": {text: text}})
    assert answer.status == 200
    said = {"response_id": answer.json["id"], "thumbs": "up", "comments": text}
    assert [gateway.post(FEEDBACK, said).json["revision"] for _ in range(2)] == [1, 1]
    assert gateway.get(f"/v1/decisions/{answer.json['id']}").status == 200
    problem(gateway.post(FEEDBACK, {**said, "response_id": text[:200]}), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/v1/decisions/%00", "/v1/decisions/%ff%fe", f"/v1/decisions/{'x' * 5000}", "/%2e%2e/"]
)
def test_odd_paths_are_not_found(gateway: GatewayProcess, path: str) -> None:
    """404 in the envelope."""
    problem(gateway.get(path), 404, "not_found")


@pytest.mark.parametrize("before", ["%00", "%ff", "x" * 5000, "';--"])
def test_an_odd_page_is_a_page(gateway: GatewayProcess, before: str) -> None:
    """Or a mistake of the caller's."""
    assert gateway.get(f"/v1/decisions?before={before}").status in {200, 404, 422}


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json; charset=\xff\xfe"},
        {"x-request-id": "\xff" * 50},
        {"traceparent": "garbage", "tracestate": "\xe9"},
        {"traceparent": "x" * 20_000},
        {"accept": "image/png", "accept-encoding": "br;q=nonsense", "expect": "nothing"},
        {"authorization": f"Bearer {MARK}"},
        {f"x-{i}": "y" for i in range(90)},
    ],
)
def test_odd_headers_change_nothing(gateway: GatewayProcess, headers: dict[str, str]) -> None:
    """The answer is an answer."""
    assert gateway.post(CHAT, {"model": "auto", "messages": HELLO}, headers).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "\xff\xfe"])
def test_a_body_that_does_not_say_it_is_json_is_refused_while_no_key_is_asked_for(
    gateway: GatewayProcess, kind: str
) -> None:
    """A page of another site can send it without asking."""
    told = gateway.post(CHAT, {"model": "auto", "messages": HELLO}, {"content-type": kind})
    problem(told, 415, "unsupported_media_type")


# ------------------------------------------------------------------ what must not be repeated


@pytest.mark.parametrize("path", [CHAT, COMPLETE, ROUTE, FEEDBACK, "/v1/nothing"])
def test_prompts_and_keys_are_never_logged(gateway: GatewayProcess, fake: FakeUpstream, path: str) -> None:
    """In answers, errors, failures of providers and half-read bodies; `survivor` looks at the end."""
    headers = {"authorization": f"Bearer {MARK}", "cookie": MARK, "x-api-key": MARK}
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": MARK}]}
    body = body if path == CHAT else {"prompt": MARK, "context": {MARK: MARK}}
    quoting = f'{{"error":{{"message":"cannot answer {MARK}"}}}}'.encode()
    for script in (refuses(500, quoting), refuses(400, quoting), streams(b"data: " + quoting + b"\n\n")):
        fake.plan(ANY_MODEL, script)
        for more in ({}, {"stream": True}, {MARK: MARK}, {"prompt": [MARK]}, {"model": MARK}, {"messages": MARK}):
            gateway.post(path, {**body, **more}, headers)
        gateway.post(path, json.dumps(body).encode()[:-1] + b"\xff", headers)
