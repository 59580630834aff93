"""The connections to providers that are reached in the same way, in one pool."""

from contextvars import ContextVar
from typing import Any

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection

from conduit.providers.network import SYSTEMS, Network

MAX_CONNECTIONS = 1024
KEEP_ALIVE_S = 4.0
"""Below the 5 s after which uvicorn and Node's servers close a connection that is not used."""
DNS_CACHE_S = 60

SERVED = "conduit_served"
REUSED: ContextVar[bool] = ContextVar("REUSED", default=False)
"""Whether the request that this task sent last went over a connection that had served another before: its server may
have closed it since."""


class SharedSession:
    """Opened at the first call, in the loop that is then running; whoever made it closes it."""

    def __init__(
        self,
        *,
        max_connections: int = MAX_CONNECTIONS,
        keep_alive_s: float = KEEP_ALIVE_S,
        network: Network = SYSTEMS,
    ) -> None:
        """Raises ConfigurationError for certificates that cannot be read."""
        self._max_connections, self._keep_alive_s = max_connections, keep_alive_s
        self._proxy, self._tls = network.proxy, network.tls()
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

    def _build(self, **connections: Any) -> ClientSession:
        tls = self._tls or True
        connector = NotingConnector(limit=self._max_connections, ttl_dns_cache=DNS_CACHE_S, ssl=tls, **connections)
        # Answers are asked for uncompressed, since compression holds streams back; a server that compresses
        # all the same is understood. Cookies would tie one caller's request to another's.
        return ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            auto_decompress=True,
            timeout=ClientTimeout(total=None),
            headers={"User-Agent": "conduit", "Accept-Encoding": "identity"},
            proxy=self._proxy,  # the environment's is in it already: aiohttp would read that, and ~/.netrc, every time
        )


class NotingConnector(TCPConnector):
    """Notes REUSED. The client's tracing would tell it too, for a tenth of a request's cost."""

    async def connect(self, *request: Any, **more: Any) -> Connection:
        connection = await super().connect(*request, **more)
        kept = vars(connection.protocol)  # lives as long as the connection to the server
        REUSED.set(SERVED in kept)
        kept[SERVED] = True
        return connection
