"""`conduit serve` as a process: where it listens, what ends it, and what it says when it has no room."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess, declared, environ, until
from tests.support.raw_client import RawClient
from tests.support.stub_provider import Asked, StubProvider, delta, event

CHAT = "/v1/chat/completions"


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_18_all_addresses_are_those_of_ipv4_too(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, command="conduit serve")
    gateway._argv[gateway._argv.index("--host") + 1] = "::"
    with gateway:  # which asks it at 127.0.0.1
        for host in ("127.0.0.1", "::1"):
            with RawClient(gateway.port, host) as client:
                client.send(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert client.reply().status == 200
        again = [str(Path(sys.executable).with_name("conduit")), "serve", "--host", "::", "--port", str(gateway.port)]
        second = subprocess.run(again, cwd=tmp_path, env=environ(), capture_output=True, timeout=60, check=False)
        assert second.returncode != 0
        assert b"Traceback" not in second.stderr


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM], ids=["41 SIGHUP", "41 control: SIGTERM"])
def test_what_is_in_flight_ends_before_the_process_does(tmp_path: Path, how: signal.Signals) -> None:
    async def in_two_parts(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.piece(delta(role="assistant", content="first"))
        until(lambda: refuses(gateway.port))  # it was told to end, and takes no more
        await asked.piece(delta(content="last") + delta("stop") + event({"choices": []}) + b"data: [DONE]\n\n")
        await asked.end_stream()

    with StubProvider({"one": in_two_parts}) as stub:
        gateway = GatewayProcess(tmp_path, config=declared(stub.base_url, {"one": 1.0}), command="conduit serve")
        with gateway, RawClient(gateway.port) as client:
            client.post(CHAT, {"model": "one", "stream": True, "messages": [{"role": "user", "content": "hello"}]})
            client.until(b"first")
            os.kill(gateway.pid, how)
            assert client.until(b"[DONE]").endswith(b"[DONE]")
            assert gateway.wait() == 0


def refuses(port: int) -> bool:
    try:
        RawClient(port).close()
    except OSError:
        return True
    return False


def lives(gateway: GatewayProcess) -> bool:
    with suppress(OSError):
        return gateway.get("/health/live").status == 200
    return False


@contextmanager
def few_descriptors(soft: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_41_as_many_descriptors_are_taken_as_there_are(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    gateway = GatewayProcess(tmp_path, command="conduit serve")
    with few_descriptors(256):
        gateway.start()
    try:
        soft = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)[0]
        assert soft > 256 or hard == 256
    finally:
        gateway.stop()


def test_41_descriptors_that_run_out_are_told_of(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, command="conduit serve") as gateway:
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (80, 80))
        callers: list[socket.socket] = []
        try:
            callers += [socket.create_connection(("127.0.0.1", gateway.port), 20) for _ in range(100)]
            until(lambda: "file descriptors run out" in gateway.said)
            assert "ulimit" in gateway.said
        finally:
            for caller in callers:
                caller.close()
        until(lambda: lives(gateway))
