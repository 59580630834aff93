"""A request that is rejected is in the ledger, and its answer says under which name; made-up names fill nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.wire.ledgers import ENV
from tests.support.gateway import GatewayProcess, declared, until
from tests.support.stub_provider import Asked, StubProvider

HELLO = [{"role": "user", "content": "hello"}]
MADE_UP = 60
MOST_NAMES = 25


async def refuses(asked: Asked) -> None:
    body = {"error": {"message": "tools are not for me", "type": "invalid_request_error"}}
    await asked.answer(json.dumps(body).encode(), status=400)


async def refuses_in_html(asked: Asked) -> None:
    await asked.answer(b"<html>no</html>", status=400, kind="text/html")


async def embeds(asked: Asked) -> None:
    """Whatever the model's name."""
    answer = {"object": "list", "data": [{"embedding": [0.6, 0.8], "index": 0}], "usage": {"prompt_tokens": 3}}
    await asked.answer(json.dumps(answer).encode())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    behaviours = {"refuses": refuses, "html": refuses_in_html, "embed-refuses": refuses}
    behaviours |= {f"made-up-{i}": embeds for i in range(MADE_UP)}
    with StubProvider(behaviours) as stub:
        config = declared(stub.base_url, {"refuses": 1.0, "html": 1.0})
        folder = tmp_path_factory.mktemp("gateway")
        with GatewayProcess(folder, config=config, command="conduit serve", env=ENV) as running:
            yield running


ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "22 chat": ("/v1/chat/completions", {"model": "refuses", "messages": HELLO}),
    "22 stream": ("/v1/chat/completions", {"model": "refuses", "messages": HELLO, "stream": True}),
    "22 not in JSON": ("/v1/chat/completions", {"model": "html", "messages": HELLO}),
    "22 auto": ("/v1/chat/completions", {"model": "auto", "messages": HELLO}),
    "22 complete": ("/v1/complete", {"prompt": "hello"}),
    "22 embeddings": ("/v1/embeddings", {"model": "embed-refuses", "input": "hello"}),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_rejected_request_says_its_decision(gateway: GatewayProcess, row: str) -> None:
    path, body = ROWS[row]
    reply = gateway.post(path, body)
    assert reply.status == 400
    name = reply.headers["x-conduit-decision"]
    assert until(lambda: gateway.get(f"/v1/decisions/{name}").status == 200)
    assert gateway.get(f"/v1/decisions/{name}").json["outcome"]["status"] == "failed"


def test_22_made_up_names_do_not_fill_the_distribution(gateway: GatewayProcess) -> None:
    for i in range(MADE_UP):
        assert gateway.post("/v1/embeddings", {"model": f"made-up-{i}", "input": "hello"}).status == 200
    found = gateway.get("/v1/stats").json["model_distribution"]
    assert len(found) <= MOST_NAMES
    assert sum(found.values()) == MADE_UP
    assert found["other"] > 0
