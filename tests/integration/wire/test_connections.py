"""Connections to providers: closed while they are idle, slow to come, and what is sent over them."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.wire.asking import CHAT, HELLO, ask, outcome_of, tried
from tests.support.gateway import GatewayProcess, declared, problem
from tests.support.raw_client import RawClient
from tests.support.stub_provider import Asked, Behaviour, StubProvider, completion, hello

KEEP_S = 30.0
THOUGHT_S = 65.0
"""UPSTREAM_TIMEOUT_S was 60, to the first byte of a whole answer."""


def once_a_connection(*, reset: bool) -> Behaviour:
    """Answers on a fresh connection; one that was used before it closes when the next request has come, as a server
    does whose patience ends just then."""
    used: set[int] = set()

    async def play(asked: Asked) -> None:
        if asked.connection in used:
            if reset:
                raise ConnectionAbortedError
            asked.writer.write_eof()
            await asked.until_left()
            raise ConnectionAbortedError
        used.add(asked.connection)
        await hello(asked)

    return play


async def never(asked: Asked) -> None:
    raise ConnectionAbortedError


async def silent(asked: Asked) -> None:
    await asked.until_left()


async def slow(asked: Asked) -> None:
    """A whole answer that takes longer than the first content of a stream may."""
    await asyncio.sleep(2.5)
    await asked.answer(completion("thought about it"))


BEHAVIOURS: dict[str, Behaviour] = {
    "closes": once_a_connection(reset=False),
    "resets": once_a_connection(reset=True),
    "never": never,
    "silent": silent,
    "silent-too": silent,
    "slow": slow,
}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider(BEHAVIOURS) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(stub.base_url, {**dict.fromkeys(BEHAVIOURS, 1.0), "good": 2.0})
    env = {
        "UPSTREAM_TIMEOUT_S": "4",
        "UPSTREAM_FIRST_CONTENT_S": "1",
        "UPSTREAM_DEADLINE_S": "4",
        "UPSTREAM_KEEP_ALIVE_S": str(KEEP_S),
    }
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env) as running:
        yield running


# ------------------------------------------------------------------ 8: a connection that was closed while it was idle


@pytest.mark.parametrize("stream", [False, True], ids=["08 whole", "08 stream"])
@pytest.mark.parametrize("model", ["closes", "resets"])
def test_a_request_that_was_not_heard_is_sent_again(
    gateway: GatewayProcess, stub: StubProvider, model: str, stream: bool
) -> None:
    """Once, on a fresh connection; the caller and the beliefs see nothing of it."""
    stub.forget()
    for _ in range(6):
        reply = ask(gateway, model, stream=stream)
        assert reply.status == 200
        assert tried(outcome_of(gateway, reply)) == [(model, None)]
    assert len(stub.of(model)) == 6 + 3, "every other one found a connection that was used before"


def test_control_a_fresh_connection_that_closes_is_a_failure(gateway: GatewayProcess, stub: StubProvider) -> None:
    """08: the request may have been heard, and is not sent twice."""
    stub.forget()
    body = problem(ask(gateway, "never"), 502, "upstream_error")
    assert tried(body) == [("never", "connection reset")]
    assert len(stub.of("never")) == 1


def test_a_connection_is_not_kept_longer_than_its_server_keeps_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """08: without any setting connections go after 4 s, before uvicorn's and Node's servers close them after 5. They
    are not used again from then on, and closed when the client tidies up, within as long again."""
    with (
        StubProvider() as server,
        GatewayProcess(tmp_path_factory.mktemp("plain"), config=declared(server.base_url, {"good": 1.0})) as gateway,
    ):
        assert ask(gateway, "good").status == 200
        server.wait_until_closed(1, within_s=12.0)


# ------------------------------------------------------------------ 14: how long each part may take


def test_control_a_whole_answer_may_take_longer_than_first_content(gateway: GatewayProcess) -> None:
    """14: UPSTREAM_FIRST_CONTENT_S is of streams alone."""
    assert ask(gateway, "slow").json["choices"][0]["message"]["content"] == "thought about it"


def test_a_whole_answer_may_take_longer_than_a_minute(tmp_path: Path) -> None:
    """14: without any setting, as reasoning models do. The row waits as long, and needs no processor meanwhile."""

    async def thinks(asked: Asked) -> None:
        await asyncio.sleep(THOUGHT_S)
        await asked.answer(completion("thought about it"))

    with (
        StubProvider({"thinks": thinks}) as server,
        GatewayProcess(tmp_path, config=declared(server.base_url, {"thinks": 1.0})) as gateway,
        RawClient(gateway.port, wait_s=THOUGHT_S * 2) as client,
    ):
        client.post(CHAT, {"model": "thinks", "messages": HELLO})
        reply = client.reply()
    assert reply.status == 200, reply.body
    assert reply.json["choices"][0]["message"]["content"] == "thought about it"


def test_a_stream_without_content_is_left_for_another_model(gateway: GatewayProcess) -> None:
    """14: after UPSTREAM_FIRST_CONTENT_S, and long before UPSTREAM_TIMEOUT_S."""
    allow = {"constraints": {"allow": ["silent", "good"]}}
    for _ in range(20):
        reply = ask(gateway, stream=True, conduit=allow)
        assert reply.status == 200
        kept = outcome_of(gateway, reply)
        if len(kept["attempts"]) == 2:
            assert tried(kept) == [("silent", "timed out"), ("good", None)]
            assert 0.9 < kept["attempts"][0]["latency_s"] < 3.5
            return
    raise AssertionError("the silent model was never first")


def test_a_time_out_is_not_tried_again_elsewhere_without_time(gateway: GatewayProcess, stub: StubProvider) -> None:
    """14: the deadline does not allow a whole answer any more, so that one call is paid for and not two."""
    stub.forget()
    reply = ask(gateway, conduit={"constraints": {"allow": ["silent", "silent-too"]}})
    body = problem(reply, 504, "upstream_timeout")
    assert len(body["attempts"]) == len(stub.asked) == 1
    assert reply.headers["x-should-retry"] == "false"


def test_connecting_has_a_limit_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """14: a server that takes no connection is given up long before an answer would be."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [_filler(port) for _ in range(8)]
        config = declared(f"http://127.0.0.1:{port}/v1", {"full": 1.0})
        env = {"UPSTREAM_CONNECT_S": "1", "UPSTREAM_TIMEOUT_S": "12"}
        with GatewayProcess(tmp_path_factory.mktemp("full"), config=config, env=env) as gateway:
            body = problem(ask(gateway, "full"), 504, "upstream_timeout")
        for each in waiting:
            each.close()
    assert tried(body) == [("full", "connect timed out")]
    assert body["attempts"][0]["latency_s"] < 8.0


def _filler(port: int) -> socket.socket:
    """Takes a place in the queue of those that wait to be accepted."""
    filler = socket.socket()
    filler.setblocking(False)
    filler.connect_ex(("127.0.0.1", port))
    return filler


# ------------------------------------------------------------------ 13: what providers are sent


@pytest.mark.parametrize(
    "own",
    ["", "my-own-request-7", "0b5f8a3c-4a3b-4a57-9d51-0f7f1b6d0a11", "not sane \u00e9"],
    ids=["13 none", "13 the caller's own", "13 control: a UUID", "13 not sane"],
)
def test_a_provider_is_sent_a_uuid(gateway: GatewayProcess, stub: StubProvider, own: str) -> None:
    """The caller's own where it is one; and the same for the same request id, so that logs can be joined."""
    stub.forget()
    headers = {"x-request-id": own.encode().decode("latin-1")} if own else {}
    reply = gateway.post(CHAT, {"model": "good", "messages": HELLO}, headers)
    sent = stub.of("good")[0].headers["x-request-id"]
    assert str(UUID(sent)) == sent
    if re.fullmatch(r"[0-9a-f-]{36}", own):
        assert sent == own == reply.headers["x-request-id"]
    if own == "my-own-request-7":
        assert reply.headers["x-request-id"] == own
        gateway.post(CHAT, {"model": "good", "messages": HELLO}, headers)
        assert stub.of("good")[1].headers["x-request-id"] == sent
