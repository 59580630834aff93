"""A tiny application behind the door: real keys, a real router, no network."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message

from conduit.api.auth import Authentication
from conduit.api.middleware import RequestContext
from conduit.core.events import Event
from conduit.core.keys import Key, KeyEntry, Limits, Secret, digest_of, secret_of
from conduit.core.request_state import state_of
from conduit.core.storage import KeyStore
from conduit.gateway.access.authenticator import Authenticator, Terms
from conduit.gateway.access.limiter import Limiter
from conduit.stores.sql.keys import MemoryKeyStore
from conduit.testing import CountingIds, StillClock

OWN = b"the-operators-own-key"
Headers = Sequence[tuple[bytes, bytes]]


def secret(n: int = 1) -> str:
    return secret_of(n.to_bytes(32, "big"))


def entry(n: int = 1, *, name: str = "", scopes: Sequence[str] = ("complete",), **more: Any) -> KeyEntry:
    """The n-th key, whose secret is `secret(n)`."""
    key = Key(f"key_{n:012x}", name or f"k{n}", frozenset(scopes), more.pop("expires_s", None), Limits())
    made = {"created_s": float(n), "revoked_s": None, "secrets": (Secret(digest_of(secret(n).encode())),)}
    return KeyEntry(key, **{**made, **more})


def authenticator(
    store: KeyStore | None = None,
    *,
    clock: StillClock | None = None,
    events: list[Event] | None = None,
    own: bytes = OWN,
    required_by: str = "",
    grace_s: float = 300.0,
) -> Authenticator:
    heard: list[Event] = [] if events is None else events
    terms = Terms(own, required_by, grace_s)
    return Authenticator(store or MemoryKeyStore(), terms, clock=clock or StillClock(), listener=heard.append)


async def who(request: Request) -> Response:
    key = state_of(request.scope).key
    return Response("nobody" if key is None else key.id)


class _State:
    def __init__(self, ring: Authenticator, limiter: Limiter | None) -> None:
        self.authenticator, self.limiter = ring, limiter


def guarded(
    ring: Authenticator,
    *,
    protected: Sequence[str] = ("/v1/",),
    layers: Sequence[Middleware] = (),
    limiter: Limiter | None = None,
) -> ASGIApp:
    """Every route says who it thinks is calling."""
    paths = ("/v1/models", "/v1/deep/{rest:path}", "/health/live", "/healthy", "/open", "/v10", "/metrics", "/")
    routes = [Route(path, who, methods=["GET", "POST"]) for path in paths]
    app = Starlette(
        routes=[*routes, Mount("/mounted", routes=routes)],
        middleware=[
            Middleware(RequestContext, clock=StillClock(), ids=CountingIds()),
            *layers,
            Middleware(Authentication, protected_prefixes=protected),
        ],
    )
    app.state.conduit = _State(ring, limiter)
    return app


class Reply:
    def __init__(self, messages: list[Message]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {bytes(name): bytes(value) for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages)

    @property
    def code(self) -> str | None:
        return orjson.loads(self.body)["error"]["code"] if self.body.startswith(b"{") else None


async def call(
    app: ASGIApp,
    path: str = "/v1/models",
    *headers: tuple[bytes, bytes],
    method: str = "GET",
    root_path: str = "",
    client: str = "192.0.2.1",
) -> Reply:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": list(headers),
        "client": (client, 40000),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }
    await app(scope, receive, send)
    return Reply(messages)


def bearer(token: str | bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + (token if isinstance(token, bytes) else token.encode())
