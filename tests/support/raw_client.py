"""A caller that breaks the rules: bytes of its own on a socket, and what comes back."""

import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class RawReply:
    """One answer; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class RawClient:
    """One connection. Use as a context manager."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, wait_s: float = WAIT_S) -> None:
        self._socket = socket.create_connection((host, port), wait_s)
        self._read = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def post(self, path: str, body: object, *lines: str, version: str = "1.1") -> None:
        """A whole request, with these header lines beside host, content type and length."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        usual = [f"POST {path} HTTP/{version}", "host: localhost", "content-type: application/json"]
        head = "\r\n".join([*usual, f"content-length: {len(raw)}", *lines, "", ""])
        self.send(head.encode("latin-1") + raw)

    def receive(self, at_least: int = 1) -> bytes:
        """As many bytes, or fewer at the end of the connection; what was read ahead comes first."""
        while len(self._read) < at_least and (data := self._socket.recv(65536)):
            self._read += data
        found, self._read = self._read[:at_least], self._read[at_least:]
        return found

    def until(self, mark: bytes) -> bytes:
        """All up to and with `mark`, or up to the end of the connection."""
        while mark not in self._read and (data := self._socket.recv(65536)):
            self._read += data
        before, found, self._read = self._read.partition(mark)
        return before + found

    def reply(self) -> RawReply:
        """A whole answer, with a length, in chunks, or up to the end of the connection."""
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/"), f"no answer: {first!r}"
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        return RawReply(int(first.split(" ")[1]), headers, self._body(headers))

    def leave(self) -> None:
        """At once, with a reset, as a process does that is killed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """As a client does that has what it wanted."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return self.receive(int(headers["content-length"])) if headers["content-length"] != "0" else b""
        if headers.get("transfer-encoding") != "chunked":
            return self.receive(1 << 40)
        pieces = []
        while size := int(self.until(b"\r\n") or b"0", 16):
            pieces.append(self.receive(size))
            self.until(b"\r\n")
        self.until(b"\r\n")
        return b"".join(pieces)
