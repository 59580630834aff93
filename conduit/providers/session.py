"""The connections to all providers, in one pool."""

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

MAX_CONNECTIONS = 1024
KEEP_ALIVE_S = 15.0
DNS_CACHE_S = 60


class SharedSession:
    """Opened at the first call, in the loop that is then running; whoever made it closes it."""

    def __init__(self, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self._max_connections = max_connections
        self._session: ClientSession | None = None

    def open(self) -> ClientSession:
        if self._session is None:
            self._session = self._build()
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _build(self) -> ClientSession:
        connector = TCPConnector(limit=self._max_connections, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=DNS_CACHE_S)
        # Answers are asked for uncompressed, since compression holds streams back; a server that compresses
        # all the same is understood. Cookies would tie one caller's request to another's.
        return ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            auto_decompress=True,
            timeout=ClientTimeout(total=None),
            headers={"User-Agent": "conduit", "Accept-Encoding": "identity"},
        )
