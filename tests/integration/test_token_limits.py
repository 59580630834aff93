"""What a request took of its caller's tokens is settled exactly, whether anything of it is logged or not."""

from collections.abc import Iterator

import pytest

from tests.integration.wire.asking import CHAT, HELLO
from tests.support.gateway import GatewayProcess, Reply, declared, until
from tests.support.stub_provider import Asked, StubProvider, completion, delta, event

LIMIT, TOOK = 10_000, 5000
USAGE = {"prompt_tokens": 4000, "completion_tokens": 1000, "total_tokens": TOOK}


async def talks(asked: Asked) -> None:
    if not asked.streams:
        await asked.answer(completion(usage=USAGE))
        return
    await asked.begin_stream()
    for piece in (delta(role="assistant", content="Hello."), delta("stop"), event({"choices": [], "usage": USAGE})):
        await asked.piece(piece)
    await asked.piece(b"data: [DONE]\n\n")
    await asked.end_stream()


async def fails(asked: Asked) -> None:
    await asked.answer(b'{"error": {"message": "out of order"}}', status=500)


async def embeds(asked: Asked) -> None:
    usage = {"prompt_tokens": TOOK, "total_tokens": TOOK}
    data = b'{"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}], "usage": %s}'
    await asked.answer(data % str(usage).replace("'", '"').encode())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """It logs errors only: there is no access line."""
    env = {"LOG_LEVEL": "error", "API_TOKEN_LIMIT": str(LIMIT), "TRUSTED_PROXIES": "127.0.0.1", "API_TOKEN_HOLD": "10"}
    with StubProvider({"talks": talks, "fails": fails, "embeds": embeds}) as stub:
        config = declared(stub.base_url, {"talks": 1.0, "fails": 0.001, "embeds": 1.0})
        with GatewayProcess(tmp_path_factory.mktemp("tokens"), config=config, env=env) as process:
            yield process


def sent(gateway: GatewayProcess, caller: int, path: str, **body: object) -> Reply:
    return gateway.post(path, body, {"x-forwarded-for": f"203.0.113.{caller}"})


KINDS = {
    "whole": (CHAT, {"model": "talks", "messages": HELLO}, 200, TOOK),
    "streamed": (CHAT, {"model": "talks", "messages": HELLO, "stream": True}, 200, TOOK),
    "embeddings": ("/v1/embeddings", {"model": "embeds", "input": "hello"}, 200, TOOK),
    "failed": (CHAT, {"model": "fails", "messages": HELLO}, 502, 0),
    "refused": (CHAT, {"model": "talks", "messages": "none"}, 422, 0),
}


@pytest.mark.parametrize(("kind", "caller"), [(kind, n) for n, kind in enumerate(KINDS, 1)])
def test_each_kind_of_request_settles_its_tokens(gateway: GatewayProcess, kind: str, caller: int) -> None:
    path, body, status, took = KINDS[kind]
    assert sent(gateway, caller, path, **body).status == status
    assert taken(gateway, caller, took)
    assert "request_id" not in gateway.said


def test_a_request_that_another_model_answered_settles_what_that_one_took(gateway: GatewayProcess) -> None:
    body = {"model": "auto", "messages": HELLO, "constraints": {"allow": ["talks", "fails"]}}
    replies = [sent(gateway, 100 + n, CHAT, **body) for n in range(30)]
    late = [n for n, reply in enumerate(replies) if reply.headers.get("x-conduit-attempts") == "2"]
    assert late, "the cheaper model was never asked first"
    assert taken(gateway, 100 + late[0], TOOK)


def taken(gateway: GatewayProcess, caller: int, took: int) -> bool:
    """Whether it comes to that many: a request that may take the whole limit is let in where nothing is taken, and is
    else refused with what is."""

    def told() -> bool:
        reply = sent(gateway, caller, CHAT, model="talks", messages=HELLO, max_tokens=LIMIT)
        return (0 if reply.status == 200 else reply.json["current"]) == took

    return until(told)
