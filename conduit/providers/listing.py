"""What a server says it has."""

import re
from dataclasses import dataclass

from aiohttp import ClientSession, ClientTimeout
from yarl import URL

from conduit.core.errors import UpstreamError
from conduit.providers.bounded import read_at_most
from conduit.providers.failures import own_words, refusal
from conduit.providers.json_text import decode

TIMEOUT_S = 3.0
MAX_LIST_BYTES = 4 * 1024 * 1024
# The list does not say what a model is for, but names do.
NAME = re.compile(r"[!-~]{1,200}")
"""Names go into headers: others than printable ASCII without blanks are not offered."""
NOT_FOR_CHAT = re.compile(r"embed|rerank|whisper|tts|moderation|dall-e|transcri|guard", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of a server."""

    upstream: str
    context_window: int | None


async def list_models(base_url: str, key: str | None) -> tuple[Listed, ...]:
    """Its chat models, in its own order. Raises UpstreamError, after at most TIMEOUT_S."""
    entries = decode(await _ask(URL(base_url.rstrip("/")) / "models", key)).get("data")
    if not isinstance(entries, list):
        raise UpstreamError("garbage")
    return tuple(listed for entry in entries if (listed := _listed(entry)) is not None)


async def _ask(url: URL, key: str | None) -> bytes:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with own_words("connection reset"):
        async with (
            ClientSession(timeout=ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            if response.status == 200:
                return await read_at_most(response, MAX_LIST_BYTES)
    raise refusal(response.status, b"")


def _listed(entry: object) -> Listed | None:
    name = entry.get("id") if isinstance(entry, dict) else None
    if (
        not isinstance(entry, dict)
        or not isinstance(name, str)
        or not NAME.fullmatch(name)
        or NOT_FOR_CHAT.search(name)
    ):
        return None
    window = entry.get("max_model_len")  # vLLM tells; Ollama does not
    return Listed(name, window if isinstance(window, int) and window > 0 else None)
