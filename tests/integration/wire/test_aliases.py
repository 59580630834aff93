"""Names of the operator's choice: clients that look a model up by its name find one that they know."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess, declared, environ, problem
from tests.support.stub_provider import Asked, StubProvider, hello

CHAT = "/v1/chat/completions"
EMBED = "/v1/embeddings"
HELLO = [{"role": "user", "content": "hello"}]
ALIASES = '[aliases]\n"gpt-5-mini" = "auto"\ngpt-4o = "two"\n'


async def vector(asked: Asked) -> None:
    await asked.answer(b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]}],"model":"x"}')


async def chat_or_vector(asked: Asked) -> None:
    await (vector if asked.path.endswith("embeddings") else hello)(asked)


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    with StubProvider({"two": chat_or_vector}) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(stub.base_url, {"one": 1.0, "two": 2.0}) + ALIASES
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, command="conduit serve") as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("asked", "answers", "routed"),
    [
        pytest.param("gpt-5-mini", {"one", "two"}, True, id="27 an alias of auto chooses"),
        pytest.param("gpt-4o", {"two"}, False, id="27 an alias of a model is that model"),
    ],
)
def test_an_alias_is_asked(
    gateway: GatewayProcess, stub: StubProvider, asked: str, answers: set[str], routed: bool, stream: bool
) -> None:
    stub.forget()
    reply = gateway.post(CHAT, {"model": asked, "messages": HELLO, "stream": stream})
    assert reply.status == 200
    assert reply.headers["x-conduit-model"] in answers, "the true name is told"
    assert stub.of(reply.headers["x-conduit-model"]), "and sent to the provider"
    assert not stub.of(asked)
    assert gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}").json["routed"] is routed


def test_27_an_alias_of_a_model_is_taken_for_embeddings(gateway: GatewayProcess) -> None:
    reply = gateway.post(EMBED, {"model": "gpt-4o", "input": "hello"})
    assert (reply.status, reply.headers.get("x-conduit-model")) == (200, "two")
    told = problem(gateway.post(EMBED, {"model": "gpt-5-mini", "input": "hello"}), 422, "invalid_request")
    assert told["error"]["param"] == "model", "vectors of two models cannot be compared, by no name"


def test_27_aliases_are_listed(gateway: GatewayProcess) -> None:
    listed = gateway.get("/v1/models").json
    assert listed["models"] == ["auto", "one", "two", "gpt-5-mini", "gpt-4o"]
    found = {each["id"]: each.get("alias_of") for each in listed["data"]}
    assert found == {"auto": None, "one": None, "two": None, "gpt-5-mini": "auto", "gpt-4o": "two"}
    assert [gateway.get(f"/v1/models/{each['id']}").json for each in listed["data"]] == listed["data"]


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        pytest.param('x = "three"', "aliases.x: no model is called 'three'", id="27 unknown target"),
        pytest.param('x = "gpt-5-mini"', "aliases.x: no model is called 'gpt-5-mini'", id="27 the provider's own name"),
        pytest.param('x = "x"', "aliases.x: 'x' is an alias itself", id="27 itself"),
        pytest.param('x = "y"\ny = "x"', "aliases.x: 'y' is an alias itself", id="27 a loop"),
        pytest.param('x = "y"\ny = "one"', "aliases.x: 'y' is an alias itself", id="27 a chain"),
        pytest.param('one = "two"', "aliases.one: a model has this name", id="27 a model's own name"),
        pytest.param('auto = "two"', "aliases.auto", id="27 the name auto"),
        pytest.param('"two words" = "two"', "aliases.two words", id="27 a blank"),
        pytest.param('"" = "two"', "aliases.", id="27 no name"),
        pytest.param("x = 5", "aliases.x", id="27 no text"),
        pytest.param('x = ["one"]', "aliases.x", id="27 several targets"),
    ],
)
def test_a_wrong_alias_is_named_by_check(stub: StubProvider, tmp_path: Path, aliases: str, said: str) -> None:
    config = declared(stub.base_url, {"one": 1.0, "two": 2.0}) + f"[aliases]\n{aliases}\n"
    (tmp_path / "conduit.toml").write_text(config, "utf-8")
    command = [str(Path(sys.executable).with_name("conduit")), "check"]
    checked = subprocess.run(command, cwd=tmp_path, env=environ(), capture_output=True, text=True, check=False)
    assert checked.returncode != 0
    assert said in " ".join((checked.stdout + checked.stderr).split())


def test_27_a_wrong_alias_ends_the_start(stub: StubProvider, tmp_path: Path) -> None:
    config = declared(stub.base_url, {"one": 1.0}) + '[aliases]\nx = "three"\n'
    gateway = GatewayProcess(tmp_path, config=config, command="conduit serve")
    with pytest.raises(AssertionError, match=r"ended instead of starting[\s\S]*aliases.x: no model is called 'three'"):
        gateway.__enter__()
