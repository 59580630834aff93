"""The whole application in the process of the test: its stack, its routes, the sandbox, SQLite in memory's place."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog
from starlette.types import Message

from conduit.api.app import Application, create_app
from conduit.core.config import make_settings

OWN = "the-operators-own-key"
Header = tuple[bytes, bytes]
USUAL: Sequence[Header] = ((b"host", b"localhost"), (b"content-type", b"application/json"))


@dataclass
class Answer:
    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    def all(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.messages[0]["headers"] if key == name.encode()]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    @property
    def json(self) -> Any:
        return orjson.loads(b"".join(message.get("body", b"") for message in self.messages[1:]))

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Inside:
    """Calls the application as a server would."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def call(
        self,
        method: str,
        path: str,
        *pieces: bytes,
        headers: Sequence[Header] = (),
        client: str = "192.0.2.1",
        query: str = "",
        stalls: bool = False,
        leaves: bool = False,
    ) -> Answer:
        """A request whose body comes in `pieces`, of which there are more that never come, or whose caller leaves."""
        left = list(pieces) or [b""]
        answer = Answer()

        async def receive() -> Message:
            if left:
                return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or stalls or leaves}
            if leaves:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            answer.messages.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [*(usual for usual in USUAL if usual[0] not in dict(headers)), *headers],
            "client": (client, 40_000),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
        }
        await self.app(scope, receive, send)
        return answer

    async def post(self, path: str, body: object, *headers: Header, **more: Any) -> Answer:
        return await self.call("POST", path, orjson.dumps(body), headers=headers, **more)

    async def get(self, path: str, *headers: Header, **more: Any) -> Answer:
        return await self.call("GET", path, headers=headers, **more)


def bearer(token: str = OWN) -> Header:
    return b"authorization", b"Bearer " + token.encode()


@asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[Inside]:
    """With these environment variables, and nothing of the machine's own."""
    environ = {"DATABASE_URL": f"sqlite:///{folder}/conduit.db", "SANDBOX_TIME_SCALE": "0", "SANDBOX": "on", **settings}
    app = create_app(make_settings(file={}, environ=environ), environ)
    try:
        async with app.router.lifespan_context(app):
            yield Inside(app)
    finally:
        structlog.reset_defaults()
