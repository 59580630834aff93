"""Attacks on a gateway that runs as it would: two workers, a real Valkey, real sockets.

    python -m benchmarks.attack [tokens forged headers heads loris body]

`tokens`: 500 random bearer tokens from one address. `forged`: 500 requests without a key, each with another
X-Forwarded-For; and 500 wrong tokens, each with another. `headers`: 10,000 Authorization headers made by hypothesis,
the throttle off, answers by what is in them. `heads`: 100 heads of a byte now and then, while others ask; and heads,
URLs and the like without an end. `loris`: 100 bodies of a byte now and then, while others ask. `body`: a gigabyte in
chunks. A line each: what was sent, what came back, what should have.
"""

import argparse
import http.client
import os
import random
import re
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conduit.api.head import BoundedHead
from tests.support.gateway import GatewayProcess, children
from tests.support.valkey import ValkeyServer

OWN = "operators-own-key"
LIMIT, FAILURES, BODY_S = 50, 20, 2.0
MANY, HEADERS, SLOW = 500, 10_000, 100
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
BROWSER = {"authorization": f"Bearer {OWN}"}
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no value of a header may have: RFC 9110, 5.5."""
NOT_SENT = b"\r\n\0"
"""A server ends the line there: what follows would be another header, and is not part of this attack."""


def told(name: str, sent: str, came: object, expected: str) -> None:
    print(f"{name:<9} | {sent:<52} | {came!s:<58} | {expected}", flush=True)


def statuses(port: int, path: str, headers: Sequence[Mapping[str, str]]) -> Counter[int]:
    """One after the other, each on a connection of its own, so that every worker gets some."""
    seen = Counter[int]()
    for each in headers:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers=dict(each))
        response = connection.getresponse()
        response.read()
        seen[response.status] += 1
        connection.close()
    return seen


# ------------------------------------------------------------------ the door


def tokens(gateway: GatewayProcess) -> None:
    made = random.Random(1)
    wrong = [{"authorization": f"Bearer {made.randbytes(32).hex()}"} for _ in range(MANY)]
    came = statuses(gateway.port, "/v1/models", wrong)
    told("tokens", f"{MANY} random tokens, one address", dict(came), f"401 {FAILURES} times in all, then 429")
    came = statuses(gateway.port, "/v1/models", [BROWSER])
    told("", "then the right key from there", dict(came), "429: it was never good from there")


def forged(gateway: GatewayProcess) -> None:
    others = [{"x-forwarded-for": f"203.0.{i // 250}.{i % 250 + 1}"} for i in range(MANY)]
    came = statuses(gateway.port, "/openapi.json", others)
    told("forged", f"{MANY} X-Forwarded-For, no key", dict(came), f"200 {LIMIT} times, then 429")
    wrong = [{**each, "authorization": f"Bearer wrong-{i}"} for i, each in enumerate(others)]
    came = statuses(gateway.port, "/v1/models", wrong)
    told("", f"{MANY} X-Forwarded-For, each with a wrong token", dict(came), "as tokens: one address")


def headers(gateway: GatewayProcess) -> None:
    seen, by_bytes = Counter[str](), Counter[str]()
    wire = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20)]
    value = st.binary(max_size=300) | st.binary(max_size=80).map(lambda b: b"Bearer " + b) | st.text().map(str.encode)

    @settings(max_examples=HEADERS, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(value.map(lambda b: b.translate(None, NOT_SENT)))
    def ask(sent: bytes) -> None:
        wire[0].sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: " + sent + b"\r\n\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer or not _whole(answer):
            piece = wire[0].recv(65_536)
            if not piece:
                break
            answer += piece
        status = answer[9:12].decode() or "closed"
        seen[status] += 1
        by_bytes[f"{status} of {'a control byte' if CONTROL.search(sent) else 'none'}"] += 1
        if answer[9:12] != b"401":  # the server itself ends what is no HTTP
            wire[0].close()
            wire[0] = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)

    ask()
    told("headers", f"{sum(seen.values())} Authorization headers", dict(seen), "401; 400 where it is no HTTP")
    told("", "by a control byte (below 32 but tab; 127)", dict(by_bytes), "400 with one, 401 with none")


def _whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return not sizes or len(body) >= int(sizes[0])


# ------------------------------------------------------------------ heads

HEAD = b"GET /health/live HTTP/1.1\r\nx: "
CHUNKED = b"POST /v1/complete HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2"
LINES = b"x: " + b"y" * 60_000 + b"\r\n"
ENDLESS: Mapping[str, tuple[bytes, bytes]] = {
    "a header": (HEAD, b"y" * 65_536),
    "headers": (HEAD + b"\r\n", LINES),
    "a URL": (b"GET /", b"y" * 65_536),
    "an extension of a chunk": (CHUNKED + b";", b"y" * 65_536),
    "fields after the body": (CHUNKED + b"\r\n{}\r\n0\r\n", LINES),
}


def heads(gateway: GatewayProcess) -> None:
    ended: list[tuple[float, bytes]] = []
    threads = [threading.Thread(target=_drip, args=(gateway.port, ended, HEAD, 60.0)) for _ in range(SLOW)]
    for thread in threads:
        thread.start()
    busy = _served(gateway, BODY_S)
    for thread in threads:
        thread.join()
    _told_of_slow("heads", "heads", ended, BoundedHead.head_s)
    told("", "others meanwhile", f"{busy[0]} answers, p50 {busy[1]:.1f} ms, slowest {busy[2]:.0f} ms", "")
    for name, (begin, more) in ENDLESS.items():
        before, sent, reply = _resident(gateway), 0, b""
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as wire:
            with suppress(OSError):
                wire.sendall(begin)
                while sent < 100_000_000:
                    wire.sendall(more)
                    sent += len(more)
            with suppress(OSError):
                reply = wire.recv(200)
        status = reply[9:12].decode() or "closed"
        grown = (_resident(gateway) - before) / 1e6
        told("", f"{name} of 100 MB", f"{status} after {sent / 1e6:.1f} MB; memory {grown:+.1f} MB", "431, or closed")


# ------------------------------------------------------------------ bodies


def loris(gateway: GatewayProcess) -> None:
    calm = _served(gateway, 1.0)
    ended: list[tuple[float, bytes]] = []
    begin = b"POST /v1/complete HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\nauthorization: Bearer %s\r\n\r\n"
    args = (gateway.port, ended, begin % OWN.encode(), 10 * BODY_S)
    threads = [threading.Thread(target=_drip, args=args) for _ in range(SLOW)]
    for thread in threads:
        thread.start()
    busy = _served(gateway, BODY_S)
    for thread in threads:
        thread.join()
    _told_of_slow("loris", "bodies", ended, BODY_S)
    told("", "others meanwhile", f"{busy[0]} answers, p50 {busy[1]:.1f} ms, slowest {busy[2]:.0f} ms",
         f"before: p50 {calm[1]:.1f} ms, slowest {calm[2]:.0f} ms")  # fmt: skip


def _told_of_slow(attack: str, what: str, ended: Sequence[tuple[float, bytes]], due_s: float) -> None:
    lasted = [seconds for seconds, _ in ended]
    came = dict(Counter(answer[9:12].decode() or "closed" for _, answer in ended))
    told(attack, f"{len(ended)} {what}, a byte every 0.1 s", f"{came} after {min(lasted):.1f} to {max(lasted):.1f} s",
         f"408 after {due_s:g} s")  # fmt: skip


def _drip(port: int, ended: list[tuple[float, bytes]], begin: bytes, most_s: float) -> None:
    began, answer = time.perf_counter(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.1) as wire, suppress(ConnectionError):
        wire.sendall(begin)
        while not answer and time.perf_counter() - began < most_s:
            with suppress(TimeoutError):
                wire.sendall(b" ")
                answer = wire.recv(500)
    ended.append((time.perf_counter() - began, answer))


def _served(gateway: GatewayProcess, for_s: float) -> tuple[int, float, float]:
    times, until = [], time.perf_counter() + for_s
    while (began := time.perf_counter()) < until:
        assert gateway.get("/health/live").status == 200
        times.append((time.perf_counter() - began) * 1e3)
    return len(times), statistics.median(times), max(times)


def body(gateway: GatewayProcess) -> None:
    for path in ("/v1/complete", "/v1/chat/completions"):
        before, sent, reply = _resident(gateway), 0, b""
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as wire:
            head = (
                f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nauthorization: Bearer {OWN}\r\n\r\n"
            )
            wire.sendall(head.encode())
            with suppress(OSError):
                for _ in range(2**30 // len(CHUNK)):
                    wire.sendall(CHUNK)
                    sent += len(CHUNK)
            with suppress(OSError):
                reply = wire.recv(200)
        status = reply[9:12].decode() or "closed before its answer was read"
        grown = (_resident(gateway) - before) / 1e6
        told(
            "body", f"1074 MB in chunks to {path}", f"{status} after {sent / 1e6:.1f} MB; memory {grown:+.1f} MB", "413"
        )


def _resident(gateway: GatewayProcess) -> int:
    """Bytes of all processes."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (gateway.pid, *children(gateway.pid)))
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


# ------------------------------------------------------------------ all together

ATTACKS: Mapping[str, tuple[Callable[[GatewayProcess], None], Mapping[str, str]]] = {
    "tokens": (tokens, {}),
    "forged": (forged, {}),
    "headers": (headers, {"API_FAILED_AUTH_LIMIT": "0", "API_RATE_LIMIT": "0"}),
    "heads": (heads, {}),
    "loris": (loris, {"API_RATE_LIMIT": "0"}),
    "body": (body, {"API_RATE_LIMIT": "0"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", choices=[*ATTACKS, []], default=[])
    usual = {
        "API_KEY": OWN,
        "API_RATE_LIMIT": str(LIMIT),
        "API_FAILED_AUTH_LIMIT": str(FAILURES),
        "REDIS_PATIENCE_S": "1",
    }
    for name in parser.parse_args().attacks or ATTACKS:
        attack, more = ATTACKS[name]
        with tempfile.TemporaryDirectory() as folder, ValkeyServer() as valkey:
            env = {**usual, "REDIS_URL": valkey.url, "API_BODY_TIMEOUT_S": str(BODY_S), **more}
            with GatewayProcess(Path(folder), workers=2, env=env) as gateway:
                attack(gateway)
                assert gateway.get("/health/ready").status == 200
                assert "Traceback" not in gateway.said


if __name__ == "__main__":
    main()
