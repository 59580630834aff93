"""What a server's list says of its models is read; and it is asked for as answers are."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import FAKE_KEY, GatewayProcess, declared, environ, free_port
from tests.support.stub_provider import MODELS, Asked, StubProvider, completion

CHAT = "/v1/chat/completions"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
LONG = "word " * 20000
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]

ENDS_S = 40.0

Entry = Mapping[str, Any]

# ------------------------------------------------------------------ what a list says

LITELLM = [
    {"model_name": "llm", "model_info": {"mode": "chat", "max_input_tokens": 4000, "supports_vision": None}},
    {"model_name": "blind", "model_info": {"mode": "chat", "supports_vision": False}},
    {"model_name": "vectors", "model_info": {"mode": "embedding", "max_input_tokens": 8191}},
    {"model_name": "ranks", "model_info": {"mode": "rerank"}},
    {"model_name": "hears", "model_info": {"mode": "audio_transcription"}},
    {"model_name": "draws", "model_info": {"mode": "image_generation"}},
    {"model_name": "unknown", "model_info": {"mode": None, "max_input_tokens": None}},
]
SERVERS: Mapping[str, Sequence[Entry]] = {
    "openrouter": [
        {
            "id": "eyes",
            "context_length": 200_000,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "supported_parameters": ["tools", "response_format"],
        },
        {
            "id": "blind",
            "context_length": 200_000,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        },
        {"id": "paints", "architecture": {"input_modalities": ["text"], "output_modalities": ["image"]}},
        {"id": "vectors", "architecture": {"input_modalities": ["text"], "output_modalities": ["embeddings"]}},
        {"id": "small", "context_length": 4000},
        {"id": "small-first", "context_length": 200_000, "top_provider": {"context_length": 4000}},
        {"id": "no-tools", "context_length": 200_000, "supported_parameters": ["temperature", "response_format"]},
    ],
    "llamacpp": [
        {"id": "started-small", "meta": {"n_ctx": 4096, "n_ctx_train": 131_072}},
        {"id": "trained-small", "meta": {"n_ctx_train": 4096}},
        {"id": "text-only", "meta": {"n_ctx_train": 131_072}},
        {"id": "sees", "meta": {"n_ctx_train": 131_072}},
    ],
    "vllm-like": [{"id": "small", "max_model_len": 4096}, {"id": "large", "max_model_len": 131_072}],
    "mistral-like": [
        {
            "id": "chats",
            "max_context_length": 131_072,
            "capabilities": {"completion_chat": True, "vision": True, "function_calling": True},
        },
        {
            "id": "blind",
            "max_context_length": 131_072,
            "capabilities": {"completion_chat": True, "vision": False, "function_calling": False},
        },
        {"id": "vectors", "capabilities": {"completion_chat": False}},
        {"id": "small", "max_context_length": 4000},
    ],
    "litellm": [{"id": each["model_name"], "object": "model", "owned_by": "openai"} for each in LITELLM],
    "inline": [
        {"id": "llm", "mode": "chat", "max_input_tokens": 4000},
        {"id": "vectors", "mode": "embedding"},
        {"id": "speaks", "mode": "audio_speech"},
        {"id": "guard-and-chat", "mode": "chat"},
    ],
    "typed": [
        {"id": "llm", "type": "chat", "context_length": 4000},
        {"id": "vectors", "type": "embedding"},
        {"id": "ranks", "type": "rerank"},
        {"id": "hears", "type": "audio"},
        {"id": "embeds", "model_type": "embedding"},
        {"id": "infinity", "capabilities": ["embed"]},
        {"id": "old", "active": False},
    ],
    "ollama-like": [{"id": "llama3.2:3b"}, {"id": "nomic-embed-text:latest"}, {"id": "odd", "max_model_len": "?"}],
    "odd": [
        {"id": "a", "context_length": 0},
        {"id": "b", "context_length": -1, "architecture": "text"},
        {"id": "c", "meta": None, "capabilities": 7, "mode": 3, "type": None, "supported_parameters": [1]},
        {"id": "d", "context_length": True, "max_model_len": 1e300, "top_provider": []},
        {"id": "bad name"},
        {"id": 5},
    ],
}
OFFERED = {
    "openrouter": {"eyes", "blind", "small", "small-first", "no-tools"},
    "llamacpp": {"started-small", "trained-small", "text-only", "sees"},
    "vllm-like": {"small", "large"},
    "mistral-like": {"chats", "blind", "small"},
    "litellm": {"llm", "blind", "unknown"},
    "inline": {"llm", "guard-and-chat"},
    "typed": {"llm"},
    "ollama-like": {"llama3.2:3b", "odd"},
    "odd": {"a", "b", "c", "d"},
}
BESIDE = {
    "llamacpp": [
        {"name": "text-only", "capabilities": ["completion"]},
        {"name": "sees", "capabilities": ["completion", "multimodal"]},
    ]
}


def listing(name: str) -> Any:
    async def answer(asked: Asked) -> None:
        body = {"object": "list", "data": SERVERS[name]}
        if name in BESIDE:
            body["models"] = BESIDE[name]
        await asked.answer(json.dumps(body).encode())

    return answer


async def info(asked: Asked) -> None:
    """What has no body and is no list is LiteLLM's /model/info here."""
    found = asked.path.endswith("/model/info")
    await asked.answer(json.dumps({"data": LITELLM} if found else {}).encode(), status=200 if found else 404)


async def missing(asked: Asked) -> None:
    await asked.answer(b"{}", status=404)


@pytest.fixture(scope="module")
def stubs() -> Iterator[Mapping[str, StubProvider]]:
    made = {name: StubProvider({MODELS: listing(name), "": info if name == "litellm" else missing}) for name in SERVERS}
    for stub in made.values():
        stub.__enter__()
    yield made
    for stub in made.values():
        stub.__exit__(None, None, None)


@pytest.fixture(scope="module")
def gateway(stubs: Mapping[str, StubProvider], tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = "".join(f'[providers.{name}]\nbase_url = "{stub.base_url}"\n' for name, stub in stubs.items())
    with GatewayProcess(tmp_path_factory.mktemp("lists"), config=config, command="conduit serve") as running:
        yield running


def rows(right: Mapping[str, set[str]], *controls: str) -> list[Any]:
    """A server's list each, and what is right of it."""
    return [pytest.param(k, v, id=f"11 {'control: ' if k in controls else ''}{k}") for k, v in right.items()]


@pytest.mark.parametrize(("server", "offered"), rows(OFFERED, "llamacpp", "vllm-like", "ollama-like", "odd"))
def test_only_what_chats_is_offered(gateway: GatewayProcess, server: str, offered: set[str]) -> None:
    names = gateway.get("/v1/models").json["models"]
    assert {name.removeprefix(f"{server}/") for name in names if name.startswith(f"{server}/")} == offered


def removed(gateway: GatewayProcess, server: str, **body: Any) -> Mapping[str, str]:
    """Model -> why it cannot be asked, of one server."""
    asked = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], **body}
    reply = gateway.post(CHAT, asked)
    assert reply.status == 200, reply.body
    decision = gateway.get(f"/v1/decisions/{reply.headers['x-conduit-decision']}").json
    found = decision.get("decision", decision)["removed"]
    return {name.removeprefix(f"{server}/"): why for name, why in found.items() if name.startswith(f"{server}/")}


@pytest.mark.parametrize(
    ("server", "short"),
    rows(
        {
            "openrouter": {"small", "small-first"},
            "llamacpp": {"started-small", "trained-small"},
            "vllm-like": {"small"},
            "mistral-like": {"small"},
            "litellm": {"llm"},
            "inline": {"llm"},
            "typed": {"llm"},
            "ollama-like": set(),
            "odd": set(),
        },
        *("vllm-like", "ollama-like", "odd"),
    ),
)
def test_windows_are_known(gateway: GatewayProcess, server: str, short: set[str]) -> None:
    found = removed(gateway, server, messages=[{"role": "user", "content": LONG}])
    assert set(found) == short


@pytest.mark.parametrize(
    ("server", "blind"),
    rows(
        {
            "openrouter": {"blind"},
            "llamacpp": {"text-only"},
            "mistral-like": {"blind"},
            "litellm": {"blind"},
            "ollama-like": set(),
            "odd": set(),
        },
        *("ollama-like", "odd"),
    ),
)
def test_who_sees_is_known(gateway: GatewayProcess, server: str, blind: set[str]) -> None:
    content = [{"type": "text", "text": "What is this?"}, IMAGE]
    assert set(removed(gateway, server, messages=[{"role": "user", "content": content}])) == blind


FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}


@pytest.mark.parametrize(
    ("server", "unable"),
    rows({"openrouter": {"eyes", "blind"}, "llamacpp": {"text-only"}, "ollama-like": set()}, "ollama-like"),
)
def test_who_reads_files_is_known(gateway: GatewayProcess, server: str, unable: set[str]) -> None:
    content = [{"type": "text", "text": "What is this?"}, FILE]
    assert set(removed(gateway, server, messages=[{"role": "user", "content": content}])) == unable


@pytest.mark.parametrize(
    ("server", "unable"),
    rows(
        {"openrouter": {"no-tools"}, "mistral-like": {"blind"}, "litellm": set(), "ollama-like": set()},
        *("litellm", "ollama-like"),
    ),
)
def test_who_takes_tools_is_known(gateway: GatewayProcess, server: str, unable: set[str]) -> None:
    assert set(removed(gateway, server, tools=TOOLS)) == unable


# ------------------------------------------------------------------ how it is asked for

OPEN = '[providers.lab]\nbase_url = "{url}"\n'


async def strict(asked: Asked) -> None:
    """A server that lists nothing to who does not send what was declared."""
    sent = asked.headers.get("x-team") == "search" and "api-version=7" in asked.path.partition("?")[2]
    await asked.answer(json.dumps({"data": [{"id": "one"}]} if sent else {}).encode(), status=200 if sent else 403)


async def answers(asked: Asked) -> None:
    await asked.answer(completion())


def lists_of(stub: StubProvider) -> list[Asked]:
    return [asked for asked in stub.asked if asked.path.partition("?")[0].endswith("/models")]


class PathStub(StubProvider):
    """Lists whatever the query is."""

    async def _behave(self, asked: Asked) -> None:
        if asked.path.partition("?")[0].endswith("/models"):
            await strict(asked)
            with self._changed:
                self._changed.notify_all()
            return
        await super()._behave(asked)


@pytest.mark.parametrize(
    "config",
    [
        OPEN + 'headers = {{ X-Team = "search" }}\nquery = {{ api-version = "7" }}\n',
        OPEN.replace("{url}", "{url}?api-version=7") + 'headers = {{ "x-team" = "search" }}\n',
        OPEN.replace("{url}", "{url}/")
        + 'api_key_env = "FAKE_KEY"\nheaders = {{ x-team = "search" }}\nquery = {{ "api-version" = "7" }}\n',
    ],
    ids=["21 headers and query", "21 a query in the address", "21 headers beside a key"],
)
def test_what_is_declared_is_sent_with_the_question_for_the_list(tmp_path: Path, config: str) -> None:
    with PathStub({"one": answers}) as stub:
        file = config.format(url=stub.base_url)
        with GatewayProcess(tmp_path, config=file, command="conduit serve") as gateway:
            assert "lab/one" in gateway.get("/v1/models").json["models"]
            reply = gateway.post(CHAT, {"model": "lab/one", "messages": [{"role": "user", "content": "hi"}]})
            assert reply.status == 200
        keys = {asked.headers.get("authorization") for asked in stub.asked}
        assert keys == ({f"Bearer {FAKE_KEY}"} if "FAKE_KEY" in config else {None})
        code, said = check(tmp_path)
        assert code == 0, said
        assert "lab ok answers, 1 model" in said


# ------------------------------------------------------------------ what cannot be sent


def check(folder: Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    return run(folder, "check", env)


def run(folder: Path, command: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    words = [str(Path(sys.executable).with_name("conduit")), command]
    port = ["--host", "127.0.0.1", "--port", str(free_port())] if command == "serve" else []
    try:
        done = subprocess.run(
            [*words, *port],
            cwd=folder,
            env=environ() | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=ENDS_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 0, f"`conduit {command}` went on"
    return done.returncode, " ".join((done.stdout + done.stderr).split())


SECRET = "canary-7d1e"
KEYED = OPEN + 'api_key_env = "LAB_KEY"\n'


@pytest.mark.parametrize(
    ("config", "key", "named"),
    [
        (
            KEYED.replace("{url}", "http://me:" + SECRET + "@127.0.0.1:9/v1"),
            SECRET,
            ("providers.lab.base_url", "LAB_KEY"),
        ),
        (
            OPEN.replace("{url}", "http://me:" + SECRET + "@127.0.0.1:9/v1") + 'headers = {{ Authorization = "x" }}\n',
            "",
            ("providers.lab.base_url", "authorization"),
        ),
        (KEYED, f"{SECRET} and more", ("providers.lab.api_key_env", "LAB_KEY")),
        (KEYED, f"{SECRET}\nx", ("providers.lab.api_key_env", "LAB_KEY")),
        (KEYED, f"{SECRET}\x07", ("providers.lab.api_key_env", "LAB_KEY")),
        (KEYED, f"{SECRET}é", ("providers.lab.api_key_env", "LAB_KEY")),
        (KEYED, " \n", ("providers.lab.api_key_env", "LAB_KEY is not set")),
        (OPEN.replace("{url}", "http://host name/v1"), "", ("providers.lab.base_url",)),
        (OPEN.replace("{url}", "http://h/v1#part"), "", ("providers.lab.base_url", "fragment")),
        (OPEN.replace("{url}", "http:///v1"), "", ("providers.lab.base_url",)),
        (OPEN.replace("{url}", "http://h:99999/v1"), "", ("providers.lab.base_url",)),
        (OPEN.replace("{url}", "http://h:port/v1"), "", ("providers.lab.base_url",)),
        (OPEN.replace("{url}", "http://[::1/v1"), "", ("providers.lab.base_url",)),
        (OPEN.replace("{url}", "ftp://h/v1"), "", ("providers.lab.base_url",)),
        (OPEN + 'headers = {{ x-team = "a\\nb: ' + SECRET + '" }}\n', "", ("providers.lab.headers", "x-team")),
        (OPEN + 'headers = {{ x-team = "' + SECRET + 'é" }}\n', "", ("providers.lab.headers", "x-team")),
        (OPEN + 'headers = {{ "x team" = "a" }}\n', "", ("providers.lab.headers", "x team")),
        (OPEN + 'headers = {{ "x-team:" = "a" }}\n', "", ("providers.lab.headers",)),
        (OPEN + 'headers = {{ "" = "a" }}\n', "", ("providers.lab.headers",)),
        (OPEN + 'headers = {{ content-length = "7" }}\n', "", ("providers.lab.headers", "content-length")),
    ],
    ids=[
        "21 a user in the address and a key",
        "21 a user in the address and an authorization",
        "21 a blank in the key",
        "21 a line break in the key",
        "21 a control character in the key",
        "21 a letter in the key",
        "21 nothing but blanks",
        "21 control: a blank in the address",
        "21 a fragment",
        "21 no host",
        "21 no such port",
        "21 a port of letters",
        "21 half an IPv6 address",
        "21 control: another scheme",
        "21 a line break in a header",
        "21 a letter in a header",
        "21 a blank in the name of a header",
        "21 a colon in the name of a header",
        "21 a header without a name",
        "21 a header of the connection",
    ],
)
def test_what_cannot_be_sent_is_named_at_the_start_and_by_check(
    tmp_path: Path, config: str, key: str, named: tuple[str, ...]
) -> None:
    """41: in the same words, in one line, without a traceback and without a secret."""
    (tmp_path / "conduit.toml").write_text(config.format(url="http://127.0.0.1:9/v1"), "utf-8")
    started, checked = (run(tmp_path, command, {"LAB_KEY": key}) for command in ("serve", "check"))
    for code, said in (started, checked):
        assert code != 0, said
        assert "Traceback" not in said
        assert SECRET not in said
        for each in named:
            assert each in said, said
    line = started[1].partition("conduit: ")[2] or started[1]
    assert line[:40] in checked[1], (started[1], checked[1])


@pytest.mark.parametrize(
    ("env", "sent"),
    [
        ({"LAB_KEY": "sk-one\n"}, "Bearer sk-one"),
        ({"LAB_KEY": "\ufeffsk-one\r\n".lstrip("\ufeff")}, "Bearer sk-one"),
        ({"LAB_KEY": "  sk-one\t"}, "Bearer sk-one"),
    ],
    ids=["21 a key that ends in a line break", "21 as Windows ends lines", "21 blanks around a key"],
)
def test_what_stands_around_a_key_is_not_sent(tmp_path: Path, env: Mapping[str, str], sent: str) -> None:
    with StubProvider({MODELS: listing("vllm-like")}) as stub:
        config = KEYED.format(url=stub.base_url)
        with GatewayProcess(tmp_path, config=config, env=env, command="conduit serve") as gateway:
            assert (
                gateway.post(CHAT, {"model": "lab/large", "messages": [{"role": "user", "content": "hi"}]}).status
                == 200
            )
        assert {asked.headers.get("authorization") for asked in stub.asked} == {sent}


def test_21_control_a_user_in_the_address_is_still_the_authorization(tmp_path: Path) -> None:
    with StubProvider({MODELS: listing("vllm-like")}) as stub:
        config = OPEN.format(url=stub.base_url.replace("http://", "http://me:pass%20word@"))
        with GatewayProcess(tmp_path, config=config, command="conduit serve") as gateway:
            assert (
                gateway.post(CHAT, {"model": "lab/large", "messages": [{"role": "user", "content": "hi"}]}).status
                == 200
            )
        assert {asked.headers.get("authorization") for asked in stub.asked} == {"Basic bWU6cGFzcyB3b3Jk"}
        code, said = check(tmp_path)
        assert code == 0, said


def test_41_control_check_and_the_start_agree_on_known_servers(tmp_path: Path) -> None:
    env = {"OLLAMA_BASE_URL": "http://h:99999", "OPENAI_API_KEY": SECRET}
    for command in ("serve", "check"):
        code, said = run(tmp_path, command, env)
        assert code != 0
        assert "OLLAMA_BASE_URL" in said
        assert "Traceback" not in said


def test_11_control_a_declared_model_is_still_what_was_declared(tmp_path: Path) -> None:
    """A list has no say there."""
    with StubProvider({MODELS: listing("typed")}) as stub:
        config = declared(stub.base_url, {"vectors": 1.0})
        with GatewayProcess(tmp_path, config=config, command="conduit serve") as gateway:
            assert gateway.get("/v1/models").json["models"] == ["auto", "vectors"]
