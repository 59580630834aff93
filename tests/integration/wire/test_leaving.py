"""A caller who leaves before the answer: the provider's call ends with it, and nothing is learned from it."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.integration.wire.asking import CHAT, HELLO, newest
from tests.support.gateway import GatewayProcess, declared, until
from tests.support.raw_client import RawClient
from tests.support.stub_provider import Asked, StubProvider

SOON_S = 2.0
"""The issue allows a tenth of a second; this machine may be busy. The old build took until UPSTREAM_TIMEOUT_S."""


async def silent(asked: Asked) -> None:
    await asked.until_left()


async def comments(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.piece(b": still loading\n\n")
    await asked.until_left()


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider({"silent": silent, "comments": comments, "silent-too": silent}) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(stub.base_url, {"silent": 1.0, "silent-too": 2.0, "comments": 3.0})
    env = {"UPSTREAM_TIMEOUT_S": "15", "LOG_FORMAT": "json"}
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, config=config, env=env, command="conduit serve") as running:
        yield running


ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "07 whole, reset": (CHAT, {"model": "silent", "messages": HELLO}, "leave"),
    "07 whole, closed": (CHAT, {"model": "silent", "messages": HELLO}, "close"),
    "07 a stream before its first frame": (CHAT, {"model": "silent", "messages": HELLO, "stream": True}, "close"),
    "07 a stream before its first content": (CHAT, {"model": "comments", "messages": HELLO, "stream": True}, "leave"),
    "07 auto": (CHAT, {"model": "auto", "messages": HELLO}, "leave"),
    "07 /v1/complete": ("/v1/complete", {"prompt": "hello"}, "close"),
    "07 embeddings": ("/v1/embeddings", {"model": "silent", "input": "hello"}, "leave"),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_call_ends_with_its_caller(gateway: GatewayProcess, stub: StubProvider, row: str) -> None:
    path, body, how = ROWS[row]
    stub.forget()
    lines = len(access_lines(gateway))
    with RawClient(gateway.port) as client:
        client.post(path, body)
        stub.wait_until(lambda: len(stub.asked) == 1)
        getattr(client, how)()
    stub.wait_until(lambda: stub.asked[0].left, SOON_S)
    until(lambda: len(access_lines(gateway)) > lines)
    line = access_lines(gateway)[-1]
    assert (line["status"], line["path"]) == (499, path)
    assert len(stub.asked) == 1, "no other model was asked in its place"
    record = newest(gateway)
    assert (record["outcome"]["status"], record["outcome"]["attempts"]) == ("cancelled", [])
    assert observations(gateway, record["id"]) == 0


def access_lines(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """Of requests that made a model answer."""
    found = [json.loads(line) for line in gateway.said.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("event") == "request" and line.get("method") == "POST"]


def observations(gateway: GatewayProcess, decision: str) -> int:
    """What a decision has taught so far."""
    with closing(sqlite3.connect(gateway.folder / "conduit.db")) as connection:
        query = "SELECT count(*) FROM observations WHERE decision_id = ?"
        (count,) = connection.execute(query, [decision]).fetchone()
    return int(count)
