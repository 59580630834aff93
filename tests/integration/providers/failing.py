"""How tests look at a call that fails."""

from contextlib import aclosing

import pytest

from conduit.core.errors import UpstreamError
from conduit.core.protocols import Call
from conduit.providers.openai import OpenAIProvider


async def failure(provider: OpenAIProvider, call: Call, *, how: str) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await ask(provider, call, how=how)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, (
        "the client's own error would be logged"
    )
    return caught.value


async def ask(provider: OpenAIProvider, call: Call, *, how: str) -> None:
    match how:
        case "complete":
            await provider.complete(call)
        case "embed":
            await provider.embed(call)
        case "stream":
            await read(provider, call, [])


async def read(provider: OpenAIProvider, call: Call, got: list[bytes]) -> None:
    async with aclosing(provider.stream(call)) as frames:
        async for frame in frames:
            got.append(frame.raw)  # noqa: PERF401 - what came before an exception matters
