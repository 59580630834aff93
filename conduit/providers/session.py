"""The connections to all providers, in one pool."""

from dataclasses import dataclass
from types import SimpleNamespace

from aiohttp import (
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
    TraceConnectionReuseconnParams,
)

MAX_CONNECTIONS = 1024
KEEP_ALIVE_S = 4.0
"""Below the 5 s after which uvicorn and Node's servers close a connection that is not used."""
DNS_CACHE_S = 60


@dataclass(slots=True)
class Connection:
    """Filled in while a request is sent."""

    reused: bool = False
    """Whether its connection had served another request before, and so may have been closed by the server since."""


class SharedSession:
    """Opened at the first call, in the loop that is then running; whoever made it closes it."""

    def __init__(self, *, max_connections: int = MAX_CONNECTIONS, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self._max_connections, self._keep_alive_s = max_connections, keep_alive_s
        self._pooled: ClientSession | None = None
        self._fresh: ClientSession | None = None

    def open(self) -> ClientSession:
        if self._pooled is None:
            kept = {"force_close": True} if self._keep_alive_s == 0.0 else {"keepalive_timeout": self._keep_alive_s}
            self._pooled = self._build(**kept)
        return self._pooled

    def fresh(self) -> ClientSession:
        """Whose every request has a connection of its own."""
        if self._fresh is None:
            self._fresh = self._build(force_close=True)
        return self._fresh

    async def close(self) -> None:
        for session in (self._pooled, self._fresh):
            if session is not None:
                await session.close()

    def _build(self, **connections: float | bool) -> ClientSession:
        connector = TCPConnector(
            limit=self._max_connections,
            ttl_dns_cache=DNS_CACHE_S,
            **connections,  # type: ignore[arg-type]  # one of two options, each of its own type
        )
        # Answers are asked for uncompressed, since compression holds streams back; a server that compresses
        # all the same is understood. Cookies would tie one caller's request to another's.
        return ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            auto_decompress=True,
            timeout=ClientTimeout(total=None),
            headers={"User-Agent": "conduit", "Accept-Encoding": "identity"},
            trace_configs=[_noting_reuse()],
        )


def _noting_reuse() -> TraceConfig:
    """The client's public way to learn whether a connection came from the pool; a request names its Connection as
    `trace_request_ctx`."""

    async def reused(_: ClientSession, trace: SimpleNamespace, __: TraceConnectionReuseconnParams) -> None:
        if isinstance(trace.trace_request_ctx, Connection):
            trace.trace_request_ctx.reused = True

    config = TraceConfig()
    config.on_connection_reuseconn.append(reused)
    config.freeze()
    return config
