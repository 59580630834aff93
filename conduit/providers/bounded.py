"""A response's body, up to a bound."""

from aiohttp import ClientResponse


async def read_at_most(response: ClientResponse, limit: int) -> bytes:
    """The body, or as much of it as `limit` allows."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size >= limit:
            break
    return b"".join(chunks)[:limit]
