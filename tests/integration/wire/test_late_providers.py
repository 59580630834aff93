"""Servers that come late, stay silent, change what they have, or go: who can be asked follows them."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateway import FAKE_KEY, GatewayProcess, free_port, until
from tests.support.stub_provider import MODELS, Asked, StubProvider, completion, hello

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hello"}]
PATIENCE_S = 30.0


async def missing(asked: Asked) -> None:
    """At model/info, where only LiteLLM has anything."""
    await asked.answer(b"{}", status=404)


class Server:
    """A stub whose list is what a test says: names, or the status of a refusal."""

    def __init__(self, *names: str, port: int = 0) -> None:
        self.names: tuple[str, ...] = names
        self.status = 200
        self.stub = StubProvider({MODELS: self._list, "": missing})
        if port:
            self.stub._socket.close()
            self.stub._socket, self.stub.port = socket.create_server(("127.0.0.1", port), backlog=512), port

    async def _list(self, asked: Asked) -> None:
        data = [{"id": name, "object": "model"} for name in self.names]
        body = {"data": data} if self.status == 200 else {"error": {"message": "Loading model"}}
        await asked.answer(json.dumps(body).encode(), status=self.status)

    def lists(self) -> int:
        return sum(asked.path.endswith("/models") for asked in self.stub.asked)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server("one")
    with server.stub:
        yield server


def provider(name: str, base_url: str) -> str:
    return f'[providers.{name}]\nbase_url = "{base_url}"\napi_key_env = "FAKE_KEY"\n'


@contextmanager
def starting(folder: Path, config: str, **env: str) -> Iterator[GatewayProcess]:
    """Until it listens: it may not be ready."""
    gateway = GatewayProcess(folder, config=config, env={"MODELS_REFRESH_S": "0.2", **env}, command="conduit serve")
    gateway._ready = lambda: _listens(gateway)  # type: ignore[method-assign]
    with gateway:
        yield gateway


def _listens(gateway: GatewayProcess) -> bool:
    assert gateway.alive, f"the gateway ended instead of starting:\n{gateway.said[-3000:]}"
    try:
        return gateway.get("/health/live").status == 200
    except OSError:
        return False


def names(gateway: GatewayProcess) -> set[str]:
    return set(gateway.get("/v1/models").json["models"]) - {"auto"}


def asked(gateway: GatewayProcess, model: str = "auto") -> int:
    return gateway.post(CHAT, {"model": model, "messages": MESSAGES}).status


@pytest.mark.parametrize(
    ("status", "listed", "said"),
    [(503, ("one",), "http 503"), (401, ("one",), "http 401"), (200, (), "lists no model")],
    ids=["12 the only one is loading", "12 the only one refuses", "12 the only one has an empty list"],
)
def test_a_gateway_waits_for_its_only_provider(
    tmp_path: Path, server: Server, status: int, listed: tuple[str, ...], said: str
) -> None:
    server.status, server.names = status, listed
    with starting(tmp_path, provider("lab", server.stub.base_url)) as gateway:
        ready = gateway.get("/health/ready")
        assert ready.status == 503
        assert "lab" in ready.json["checks"]["models"]
        assert said in ready.json["checks"]["models"]
        refused = gateway.post(CHAT, {"model": "auto", "messages": MESSAGES})
        assert (refused.status, refused.json["error"]["code"]) == (503, "models_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert names(gateway) == set()
        assert gateway.get("/v1/stats").status == 200
        server.status, server.names = 200, ("one",)
        until(lambda: gateway.get("/health/ready").status == 200, PATIENCE_S, lambda: gateway.said[-2000:])
        assert names(gateway) == {"lab/one"}
        assert asked(gateway) == 200
        assert asked(gateway, "lab/one") == 200
        metrics = gateway.get("/metrics").body.decode()
        assert FAKE_KEY not in ready.body.decode() + gateway.said
        assert "models listed" in gateway.said
        if status != 200:
            assert 'conduit_degraded_total{what="provider"}' in metrics
            assert "lab did not list its models" in gateway.said


def test_12_a_server_that_is_started_later_appears(tmp_path: Path) -> None:
    port = free_port()
    with starting(tmp_path, provider("lab", f"http://127.0.0.1:{port}/v1")) as gateway:
        assert "connection refused" in gateway.get("/health/ready").json["checks"]["models"]
        late = Server("late", port=port)
        with late.stub:
            until(lambda: gateway.get("/health/ready").status == 200, PATIENCE_S, lambda: gateway.said[-2000:])
            assert asked(gateway) == 200
            assert late.stub.of("late")


def test_12_others_serve_meanwhile_and_readiness_says_who_is_silent(tmp_path: Path) -> None:
    here, loading = Server("two"), Server("three")
    loading.status = 503
    with here.stub, loading.stub:
        config = provider("lab", loading.stub.base_url) + provider("here", here.stub.base_url)
        with starting(tmp_path, config) as gateway:
            ready = gateway.get("/health/ready")
            assert ready.status == 200
            assert ready.json["checks"]["models"] == "ok"
            assert ready.json["checks"]["providers"].startswith("degraded: lab did not list its models (http 503)")
            assert names(gateway) == {"here/two"}
            loading.status = 200
            until(lambda: names(gateway) == {"here/two", "lab/three"}, PATIENCE_S, lambda: gateway.said[-2000:])
            assert "providers" not in gateway.get("/health/ready").json["checks"]
            until(lambda: asked(gateway) == 200 and bool(loading.stub.of("three")), PATIENCE_S)


def test_12_what_a_server_gets_and_loses_while_it_runs(tmp_path: Path, server: Server) -> None:
    with starting(tmp_path, provider("lab", server.stub.base_url)) as gateway:
        assert names(gateway) == {"lab/one"}
        server.names = ("one", "two", "two")
        until(lambda: names(gateway) == {"lab/one", "lab/two"}, PATIENCE_S, lambda: gateway.said[-2000:])
        assert asked(gateway, "lab/two") == 200
        server.names = ("two",)
        until(lambda: names(gateway) == {"lab/two"}, PATIENCE_S, lambda: gateway.said[-2000:])
        assert asked(gateway, "lab/one") == 404
        assert asked(gateway) == 200
        stats = gateway.get("/v1/stats").json
        assert stats["total_queries"] >= 2
        embedded = gateway.post("/v1/embeddings", {"model": "lab/two", "input": "x"})
        assert embedded.status != 404


def test_12_a_server_that_is_away_keeps_its_models(tmp_path: Path, server: Server) -> None:
    with starting(tmp_path, provider("lab", server.stub.base_url)) as gateway:
        server.status = 503
        before = server.lists()
        until(lambda: server.lists() >= before + 3, PATIENCE_S)
        ready = gateway.get("/health/ready")
        assert ready.status == 200
        assert "lab did not list its models (http 503)" in ready.json["checks"]["providers"]
        assert names(gateway) == {"lab/one"}
        assert asked(gateway) == 200


def test_12_one_list_without_a_model_takes_nothing_away(tmp_path: Path, server: Server) -> None:
    """As of a server that has just restarted."""
    with starting(tmp_path, provider("lab", server.stub.base_url)) as gateway:
        lists = []

        async def once_empty(asked: Asked) -> None:
            lists.append(asked)
            data = [] if len(lists) == 1 else [{"id": "one"}]
            await asked.answer(json.dumps({"data": data}).encode())

        server.stub.behaviours[MODELS] = once_empty
        until(lambda: len(lists) >= 4, PATIENCE_S)
        assert names(gateway) == {"lab/one"}
        assert "models listed" not in gateway.said


def test_12_a_request_ends_though_its_model_leaves(tmp_path: Path, server: Server) -> None:
    gone: list[bool] = []

    async def slow(asked: Asked) -> None:
        server.names = ("two",)
        before = server.lists()
        while server.lists() < before + 4:  # noqa: ASYNC110 - for requests to this very server
            await asyncio.sleep(0.05)
        gone.append(True)
        await asked.answer(completion("It was me."))

    server.stub.behaviours["one"] = slow
    with starting(tmp_path, provider("lab", server.stub.base_url)) as gateway:
        reply = gateway.post(CHAT, {"model": "lab/one", "messages": MESSAGES})
        assert gone
        assert reply.status == 200
        assert "It was me." in reply.body.decode()
        assert names(gateway) == {"lab/two"}
        assert reply.headers["x-conduit-model"] == "lab/one"


def test_12_every_worker_asks_for_itself(tmp_path: Path, server: Server) -> None:
    server.status = 503
    config = provider("lab", server.stub.base_url)
    gateway = GatewayProcess(tmp_path, config=config, env={"MODELS_REFRESH_S": "0.2"}, workers=2)
    gateway._ready = lambda: _listens(gateway)  # type: ignore[method-assign]
    with gateway:
        server.status = 200
        until(lambda: all(names(gateway) == {"lab/one"} for _ in range(20)), PATIENCE_S, lambda: gateway.said[-2000:])


def test_12_the_judge_and_the_baseline_may_come_late(tmp_path: Path, server: Server) -> None:
    server.status = 503
    priced = '\n[[models]]\nname = "mine"\nprovider = "here"\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n'
    with StubProvider({"mine": hello}) as here:
        config = provider("lab", server.stub.base_url) + provider("here", here.base_url) + priced
        with starting(tmp_path, config, BASELINE_MODEL="lab/one") as gateway:
            assert gateway.get("/v1/stats").status == 200
            server.status = 200
            until(lambda: "lab/one" in names(gateway), PATIENCE_S, lambda: gateway.said[-2000:])
            assert gateway.get("/v1/stats").status == 200
            assert asked(gateway, "mine") == 200
