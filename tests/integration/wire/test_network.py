"""The way to a provider: through a proxy, past one, over TLS that is trusted or not, with a certificate to show."""

import asyncio
import base64
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.gateway import GatewayProcess, environ
from tests.support.stub_provider import MODELS, Asked, StubProvider, hello

CHAT = "/v1/chat/completions"
SECRET = "proxy-canary-51"
HOST = "models.test"
"""Known to the proxy alone."""


class Proxy:
    """A small proxy that forwards and tunnels whatever it is asked for to 127.0.0.1, and wants to know who asks."""

    def __init__(self, *, wants: str = "") -> None:
        self.lines: list[str] = []
        """First lines of the requests."""
        self._wants = wants
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def url(self, user: str = "") -> str:
        return f"http://{f'{user}@' if user else ''}127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._begun.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.split("\r\n")
        self.lines.append(first)
        said = [line.partition(":")[2].strip() for line in rest if line.lower().startswith("proxy-authorization:")]
        wanted = "Basic " + base64.b64encode(self._wants.encode()).decode()
        if self._wants and said != [wanted]:
            writer.write(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            return
        method, target, version = first.split(" ")
        authority = target if method == "CONNECT" else target.split("/")[2]
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(authority.rpartition(":")[2]))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            path = "/" + target.split("/", 3)[3]
            kept = [line for line in rest if not line.lower().startswith("proxy-")]
            up_writer.write("\r\n".join([f"{method} {path} {version}", *kept]).encode("latin-1"))
        await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class SecureStub(StubProvider):
    """The same over TLS. With `asks_for` it takes nobody without a certificate of that authority."""

    def __init__(self, server: trustme.LeafCert, *, asks_for: trustme.CA | None = None) -> None:
        super().__init__({MODELS: lists, "one": hello})
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.configure_cert(self._tls)
        if asks_for is not None:
            asks_for.configure_trust(self._tls)
            self._tls.verify_mode = ssl.CERT_REQUIRED

    @property
    def base_url(self) -> str:
        return super().base_url.replace("http://127.0.0.1", "https://localhost")

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket, ssl=self._tls)
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def lists(asked: Asked) -> None:
    await asked.answer(json.dumps({"data": [{"id": "one", "max_model_len": 1000}]}).encode())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client = authority.issue_cert("conduit")
    client.private_key_pem.write_to_path(folder / "client.key")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    trustme.CA().issue_cert("somebody").private_key_pem.write_to_path(folder / "other.key")
    (folder / "nonsense.pem").write_text("nothing of the kind")
    key = load_pem_private_key(client.private_key_pem.bytes(), None)
    locked = BestAvailableEncryption(SECRET.encode())
    (folder / "locked.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return folder


@pytest.fixture(scope="module")
def plain() -> Iterator[StubProvider]:
    with StubProvider({MODELS: lists, "one": hello}) as stub:
        yield stub


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[StubProvider]:
    with SecureStub(authority.issue_cert(HOST, "localhost", "127.0.0.1"), asks_for=authority) as stub:
        yield stub


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(wants=f"me:{SECRET}") as running:
        yield running


def lab(url: str, **more: object) -> str:
    fields = "".join(f"{name} = {json.dumps(str(value))}\n" for name, value in more.items())
    return f'[providers.lab]\nbase_url = "{url}"\napi_key_env = "FAKE_KEY"\n{fields}'


def works(folder: Path, config: str, env: Mapping[str, str]) -> str:
    """All that was said while a list was read, a chat answered, a stream read, and `conduit check` was content."""
    chat = {"model": "lab/one", "messages": [{"role": "user", "content": "hi"}]}
    with GatewayProcess(folder, config=config, env=env, command="conduit serve") as gateway:
        assert gateway.get("/v1/models").json["models"] == ["auto", "lab/one"]
        assert gateway.post(CHAT, chat).status == 200
        streamed = gateway.post(CHAT, {**chat, "stream": True})
        assert b"[DONE]" in streamed.body
        code, said = check(folder, env)
        assert code == 0, said
        assert "lab ok answers, 1 model" in said
        return gateway.said + said


def check(folder: Path, env: Mapping[str, str], config: str = "") -> tuple[int, str]:
    if config:
        (folder / "conduit.toml").write_text(config, "utf-8")
    words = [str(Path(sys.executable).with_name("conduit")), "check"]
    done = subprocess.run(
        words, cwd=folder, env=environ() | dict(env), capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def ask(gateway: GatewayProcess) -> int:
    return gateway.post(CHAT, {"model": "lab/one", "messages": [{"role": "user", "content": "hi"}]}).status


@pytest.mark.parametrize(
    "variable",
    ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    ids=lambda name: f"16 {name}",
)
def test_a_provider_is_asked_through_the_proxy_of_the_environment(
    tmp_path: Path, plain: StubProvider, proxy: Proxy, variable: str
) -> None:
    url = f"http://{HOST}:{plain.port}/v1"
    said = works(tmp_path, lab(url), {variable: proxy.url(f"me:{SECRET}")})
    assert {line.split(" ")[1] for line in proxy.lines} == {f"{url}/models", f"{url}/chat/completions"}
    assert SECRET not in said


@pytest.mark.parametrize(
    "how", ["environment", "field", "field over environment"], ids=lambda how: f"16 CONNECT, by the {how}"
)
def test_tls_goes_through_a_tunnel_with_a_certificate_to_show(
    tmp_path: Path, secure: StubProvider, proxy: Proxy, files: Path, how: str
) -> None:
    shown = {"ca_file": files / "ca.pem", "client_cert": files / "client.pem", "client_key": files / "client.key"}
    url, through = f"https://{HOST}:{secure.port}/v1", proxy.url(f"me:{SECRET}")
    config = lab(url, **shown) if how == "environment" else lab(url, **shown, proxy=through)
    env = {"environment": {"https_proxy": through}, "field": {}}.get(how, {"HTTPS_PROXY": "http://127.0.0.1:1"})
    said = works(tmp_path, config, env)
    assert set(proxy.lines) == {f"CONNECT {HOST}:{secure.port} HTTP/1.1"}
    assert SECRET not in said


@pytest.mark.parametrize(
    ("more", "env"),
    [
        ({"client_cert": "both.pem", "ca_file": "ca.pem"}, {}),
        ({"client_cert": "client.pem", "client_key": "client.key"}, {"SSL_CERT_FILE": "ca.pem"}),
    ],
    ids=["16 certificate and key in one file", "16 SSL_CERT_FILE in .env"],
)
def test_tls_without_a_proxy(
    tmp_path: Path, secure: StubProvider, files: Path, more: Mapping[str, str], env: Mapping[str, str]
) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={files / file}\n" for name, file in env.items()))
    works(tmp_path, lab(secure.base_url, **{name: files / file for name, file in more.items()}), {})


@pytest.mark.parametrize(
    ("host", "more", "env"),
    [
        ("localhost", {}, {}),
        ("127.0.0.1", {}, {}),
        ("127.0.0.1", {"proxy": ""}, {}),
    ],
    ids=["16 control: localhost", "16 control: loopback", "16 no proxy for this provider"],
)
def test_this_machine_is_still_never_asked_through_the_environments_proxy(
    tmp_path: Path, plain: StubProvider, host: str, more: Mapping[str, str], env: Mapping[str, str]
) -> None:
    """Nothing listens at the proxy's address."""
    dead = {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1", **env}
    works(tmp_path, lab(f"http://{host}:{plain.port}/v1", **more), dead)


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [("models.test", True), ("other.test", False)],
    ids=["16 control: NO_PROXY names it", "16 NO_PROXY names another"],
)
def test_no_proxy_is_heeded(tmp_path: Path, plain: StubProvider, proxy: Proxy, no_proxy: str, direct: bool) -> None:
    """Without the proxy nobody knows its name; the other goes through, so that both are seen to differ."""
    env = {"HTTP_PROXY": proxy.url(f"me:{SECRET}"), "NO_PROXY": no_proxy}
    _, said = check(tmp_path, env, lab(f"http://{HOST}:{plain.port}/v1"))
    assert bool(proxy.lines) is not direct
    assert ("unknown host" in said) is direct
    assert ("lab ok answers" in said) is not direct


def test_16_a_proxy_that_refuses_is_told_of_and_its_password_is_not(
    tmp_path: Path, secure: StubProvider, proxy: Proxy, files: Path
) -> None:
    config = lab(f"https://{HOST}:{secure.port}/v1", ca_file=files / "ca.pem", proxy=proxy.url("me:wrong-canary"))
    more = '[[models]]\nname = "lab/one"\nupstream = "one"\nprovider = "lab"\n'
    with GatewayProcess(tmp_path, config=config + more, command="conduit serve") as gateway:
        assert ask(gateway) == 502
        _, said = check(tmp_path, {})
        assert "the proxy answered http 407" in said
        assert "wrong-canary" not in gateway.said + said


@pytest.mark.parametrize(
    "more",
    [{}, {"ca_file": "ca.pem"}],
    ids=["16 a certificate of nobody's", "16 without a certificate to show"],
)
def test_who_is_not_trusted_or_does_not_show_is_not_asked(
    tmp_path: Path, secure: StubProvider, files: Path, more: Mapping[str, str]
) -> None:
    config = lab(secure.base_url, **{name: files / file for name, file in more.items()})
    before = len(secure.asked)
    code, said = check(tmp_path, {}, config)
    assert code == 1
    assert "lab ok" not in said
    assert "not ready until lab lists some" in said
    assert len(secure.asked) == before


@pytest.mark.parametrize(
    ("more", "env", "named"),
    [
        ({"ca_file": "gone.pem"}, {}, "providers.lab.ca_file: there is no file"),
        ({"ca_file": "nonsense.pem"}, {}, "providers.lab.ca_file | does not hold"),
        ({"client_cert": "gone.pem"}, {}, "providers.lab.client_cert: there is no file"),
        ({"client_cert": "client.pem"}, {}, "providers.lab.client_cert | does not hold"),
        ({"client_cert": "client.pem", "client_key": "gone.key"}, {}, "providers.lab.client_key: there is no file"),
        ({"client_cert": "client.pem", "client_key": "other.key"}, {}, "providers.lab.client_key | does not hold"),
        ({"client_cert": "client.pem", "client_key": "locked.key"}, {}, "providers.lab.client_key | does not hold"),
        ({"client_key": "client.key"}, {}, "providers.lab.client_key: needs client_cert"),
        ({}, {"SSL_CERT_FILE": "gone.pem"}, "SSL_CERT_FILE: there is no file"),
        ({}, {"HTTPS_PROXY": f"socks5://me:{SECRET}@h:1080"}, "HTTPS_PROXY: SOCKS"),
        ({}, {"ALL_PROXY": f"me:{SECRET}@h:99999"}, "ALL_PROXY"),
        ({}, {"https_proxy": "ftp://h:1"}, "https_proxy"),
    ],
    ids=[
        "16 no such ca_file",
        "16 a ca_file without certificates",
        "16 no such client_cert",
        "16 a client_cert without its key",
        "16 no such client_key",
        "16 another's client_key",
        "16 a client_key with a password",
        "16 a client_key alone",
        "16 no such SSL_CERT_FILE",
        "16 SOCKS in the environment",
        "16 no such port of a proxy",
        "16 a proxy of another scheme",
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, files: Path, more: Mapping[str, str], env: Mapping[str, str], named: str
) -> None:
    config = lab("https://models.test/v1", **{name: files / file for name, file in more.items()})
    set_ = {name: str(files / value) if name == "SSL_CERT_FILE" else value for name, value in env.items()}
    code, said = check(tmp_path, set_, config)
    assert code == 1
    assert all(each in said for each in named.split(" | ")), said
    assert "Traceback" not in said
    assert SECRET not in said


@pytest.mark.parametrize("value", ["socks5://h:1080", "http://"], ids=["16 SOCKS", "16 no host"])
def test_a_proxy_of_a_provider_that_is_none_is_named(tmp_path: Path, value: str) -> None:
    code, said = check(tmp_path, {}, lab("https://models.test/v1", proxy=value))
    assert code == 1
    assert "providers.lab.proxy" in said
    assert "conduit.toml" not in said


def test_16_netrc_is_nobodys_password(tmp_path: Path, plain: StubProvider, proxy: Proxy) -> None:
    """aiohttp would send it where a proxy is read from the environment."""
    (tmp_path / "netrc").write_text(f"machine {HOST} login me password {SECRET}\n")
    before = len(plain.asked)
    env = {"HTTP_PROXY": proxy.url(f"me:{SECRET}"), "NETRC": str(tmp_path / "netrc")}
    works(tmp_path, lab(f"http://{HOST}:{plain.port}/v1").replace('api_key_env = "FAKE_KEY"\n', ""), env)
    assert {asked.headers.get("authorization") for asked in plain.asked[before:]} == {None}
