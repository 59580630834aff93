"""The gateway as its users run it: a process of its own, in a folder of its own, on a real socket."""

import ctypes
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeVar

ROOT = Path(__file__).parents[2]
START_S = 40.0
"""Two shared cores may be busy; an idle machine needs a second."""
WAIT_S = 15.0
PR_SET_PDEATHSIG = 1
PORTS = range(20_000, 32_000)
"""Below those from which clients are given theirs, so that nobody takes one between our look and its use."""
FAKE_KEY = "sk-upstream-marked-7c1f"
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")
T = TypeVar("T")
Command = Literal["uvicorn", "conduit serve"]

# ------------------------------------------------------------------ what it answers


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came over the wire; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def problem(reply: Reply, status: int, code: str) -> dict[str, Any]:
    """The whole body of an error, after everything that every error must have was looked at."""
    assert reply.status == status, (reply.status, reply.body[:500])
    body: dict[str, Any] = reply.json
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert error["code"] == code, error
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"] == ("invalid_request_error" if status < 500 else "api_error")
    assert error["param"] is None or isinstance(error["param"], str)
    assert body["request_id"] == reply.headers["x-request-id"]
    return body


# ------------------------------------------------------------------ the process


class GatewayProcess:
    """Use as a context manager. It may be stopped, killed, and started again on the same folder and port.

    Of the test's own environment nothing reaches it but what Python needs, so that no key of a developer does.
    """

    def __init__(
        self,
        folder: Path,
        *,
        command: Command = "uvicorn",
        workers: int = 1,
        config: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        if config:
            (folder / "conduit.toml").write_text(config, "utf-8")
        self._argv = _argv(command, self.port, workers)
        self._signal_of_death = signal.SIGKILL if workers == 1 else signal.SIGTERM  # who has children must end them
        self._env = environ() | dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client is pointed at."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        """All that it has written to standard output and standard error, over all its lives."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self.folder.glob("std*.txt")))

    def start(self) -> Self:
        """Returns when it is ready to serve."""
        with self._files() as (out, err):
            self._process = spawn(
                self._argv, self.folder, self._env, stdout=out, stderr=err, signal_of_death=self._signal_of_death
            )
        until(self._ready, START_S, lambda: f"the gateway did not become ready:\n{self.said[-4000:]}")
        return self

    def stop(self) -> int:
        """Asks it to end, as an operator's system does; its exit code."""
        self.terminate()
        return self.wait()

    def terminate(self) -> None:
        """Asks it to end, and does not wait."""
        assert self._process is not None
        self._process.terminate()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(WAIT_S * 2)

    def kill9(self) -> None:
        """At once, with all its workers, whatever it is doing."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(WAIT_S)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self._end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """In order, so that what was measured of it is written; by force when it does not."""
        if self.alive:
            self.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.wait()
        if self._process is not None:
            self.kill9()

    def _ready(self) -> bool:
        if not self.alive:
            raise AssertionError(f"the gateway ended instead of starting:\n{self.said[-4000:]}")
        try:
            return self.get("/health/ready").status == 200
        except OSError:
            return False

    @contextmanager
    def _files(self) -> Iterator[tuple[Any, Any]]:
        with (self.folder / "stdout.txt").open("ab") as out, (self.folder / "stderr.txt").open("ab") as err:
            yield out, err

    # -------------------------------------------------------------- asking it

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.send("GET", path, None, headers)

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        """`body` is sent as JSON, unless it is bytes already."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, raw, headers)

    def send(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """On a connection of its own; an iterable goes in chunks. An answer is heard though not all was taken."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        chunked = not isinstance(body, bytes | None)
        sent = {"content-type": "application/json", **(headers or {})}
        try:
            connection.connect()
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, sent, encode_chunked=chunked)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()


# ------------------------------------------------------------------ its parts


def spawn(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    *,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    signal_of_death: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """A process that does not outlive this one, with a group of its own to be killed by."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons dislike preexec_fn beside threads
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=lambda: _die_together(signal_of_death),  # noqa: PLW1509 - one call of libc, which takes no lock
        )


@contextmanager
def recorded_upstream(table: Path, prices: Mapping[str, float]) -> Iterator[str]:
    """A process that answers as `table` says, at these US dollars per million output tokens; the URL of its API."""
    words = [word for model, usd in prices.items() for word in ("--price", f"{model}={usd!r}")]
    argv = [sys.executable, "-m", "tests.support.upstream", "--port", str(free_port()), "--table", str(table), *words]
    process = spawn(argv, ROOT, environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout:
        try:
            url = process.stdout.readline().decode().strip()
            assert url, "the fake upstream did not start"
            yield url
        finally:
            process.kill()
            process.wait(WAIT_S)


def until(happened: Callable[[], T], within_s: float = WAIT_S, otherwise: Callable[[], str] | str = "") -> T:
    """Looks again and again until something true is there."""
    deadline = time.monotonic() + within_s
    while not (value := happened()):
        if time.monotonic() > deadline:
            raise AssertionError(otherwise() if callable(otherwise) else otherwise or "waited in vain")
        time.sleep(0.02)
    return value


def declared(base_url: str, models: Mapping[str, float], *, more: str = "") -> str:
    """A conduit.toml of one provider and its models, each with its price per million output tokens."""
    tables = "".join(
        f'[[models]]\nname = "{name}"\nprovider = "fake"\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = {usd}\n'
        for name, usd in models.items()
    )
    return f'{more}\n[providers.fake]\nbase_url = "{base_url}"\napi_key_env = "FAKE_KEY"\n{tables}'


def children(pid: int) -> list[int]:
    """Worker processes of a uvicorn that has several; its resource tracker is none."""
    pids = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return [p for p in pids if b"resource_tracker" not in _command(p)]


def _command(pid: int) -> bytes:
    """Of one that has ended, which its parent has not noticed, nothing that anybody asks for."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b"resource_tracker"


def free_port() -> int:
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def _argv(command: Command, port: int, workers: int) -> list[str]:
    place = ["--host", "127.0.0.1", "--port", str(port)]
    if command == "conduit serve":
        return [str(Path(sys.executable).with_name("conduit")), "serve", *place]
    uvicorn = [sys.executable, "-m", "uvicorn", "conduit.api.app:app", *place, "--log-level", "info"]
    several = ["--workers", str(workers), "--http", "conduit.api.head:BoundedHead"]  # as docs/deployment.md says
    return uvicorn if workers == 1 else [*uvicorn, *several]


def environ() -> dict[str, str]:
    """Of a process: what Python needs, the key of the fake provider, and nothing of the developer's."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("COVERAGE_")}
    return {**kept, "FAKE_KEY": FAKE_KEY, "API_RATE_LIMIT": "0", "API_FAILED_AUTH_LIMIT": "0"}


def _die_together(signal_of_death: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_of_death)
