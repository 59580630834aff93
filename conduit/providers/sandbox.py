"""Simulated models without a network, so that Conduit can be tried with no key at all."""

import asyncio
import itertools
import json
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from struct import pack

from conduit.core.errors import UpstreamError, UpstreamTimeout
from conduit.core.protocols import Answer, Call, Frame
from conduit.providers.json_text import encode
from conduit.providers.sandbox_answers import cut, heard, json_object, prose
from conduit.providers.sandbox_judge import simulated_verdict
from conduit.providers.sandbox_request import SandboxRequest, rejected, texts_to_embed
from conduit.providers.sandbox_schema import CannotFit, instance
from conduit.providers.sandbox_tools import Tool, tool_call
from conduit.providers.sandbox_vectors import unit_vector
from conduit.providers.sandbox_wire import CHARACTERS_PER_TOKEN, Choice, Reply, chunks, completion
from conduit.providers.sandbox_world import CHARACTERS, Appraisal, Character, appraise, sandbox_models

__all__ = ["SandboxProvider", "sandbox_models"]

DIMENSIONS = 256
MAX_DIMENSIONS = 4096


class SandboxProvider:
    """Everything but the answer's id and time follows from the seed, the model and the prompt."""

    def __init__(self, *, seed: int = 0, time_scale: float = 1.0, now_s: Callable[[], float] = time.time) -> None:
        self._seed = seed
        self._time_scale = time_scale
        self._now_s = now_s
        self._count = itertools.count()
        self._characters = {character.model.name: character for character in CHARACTERS}

    async def complete(self, call: Call) -> Answer:
        character, request = self._character(call), SandboxRequest.read(call.body)
        reply = self._reply(character, request)
        await self._wait(character.first_token_s + _longest(reply) / character.tokens_per_s, call)
        data = completion(reply)
        return Answer(encode(data), data)

    async def stream(self, call: Call) -> AsyncGenerator[Frame, None]:
        character, request = self._character(call), SandboxRequest.read(call.body)
        reply = self._reply(character, request)
        await self._wait(character.first_token_s, call)
        for tokens, frame in chunks(reply, usage_asked=request.usage_asked):
            await self._wait(tokens / character.tokens_per_s, call)
            yield frame

    async def embed(self, call: Call) -> Answer:
        character, texts = self._character(call), texts_to_embed(call.body)
        dimensions = call.body.get("dimensions") or DIMENSIONS
        if not isinstance(dimensions, int) or not 1 <= dimensions <= MAX_DIMENSIONS:
            raise rejected(f"dimensions must lie between 1 and {MAX_DIMENSIONS}", "dimensions")
        await self._wait(character.first_token_s, call)
        vectors = [unit_vector(text, dimensions=dimensions, seed=self._seed) for text in texts]
        packed = call.body.get("encoding_format") == "base64"
        tokens = sum(1 + len(text) // 4 for text in texts)
        data: dict[str, object] = {
            "object": "list",
            "data": [_embedding(index, vector, packed=packed) for index, vector in enumerate(vectors)],
            "model": character.model.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return Answer(encode(data), data)

    async def close(self) -> None:
        """Nothing is held."""

    def _character(self, call: Call) -> Character:
        try:
            return self._characters[call.model.upstream_name]
        except KeyError:
            raise UpstreamError("http 404", status=404, counts=False) from None

    def _reply(self, character: Character, request: SandboxRequest) -> Reply:
        appraisal = appraise(character, request.prompt, seed=self._seed)
        now_s = self._now_s()
        key = f"{self._seed} {character.model.name} {now_s} {next(self._count)} {request.prompt}"
        return Reply(
            id="chatcmpl-" + blake2b(key.encode(errors="replace"), digest_size=12).hexdigest(),
            created=int(now_s),
            model=character.model.name,
            choices=tuple(self._choice(character, appraisal, request, index) for index in range(request.n)),
            prompt_tokens=request.prompt_tokens,
            sandbox={"quality": appraisal.quality, "kind": appraisal.kind, "difficulty": appraisal.difficulty},
        )

    def _choice(self, character: Character, appraisal: Appraisal, request: SandboxRequest, index: int) -> Choice:
        called = request.tools.called(request.prompt, answered=request.results is not None)
        if called:
            return _calls(called, request.max_tokens, f"{self._seed} {request.prompt} {index}")
        text = prose(character, appraisal, self._seed, request.prompt, index, *_given(request.seed))
        if request.results is not None:
            text = heard(request.results) + text
        if request.json:
            text = self._json(character, appraisal, request, text)
        said, why = cut(text, stop=request.stop, most=request.max_tokens)
        return Choice(said, (), why, request.top_logprobs)

    def _json(self, character: Character, appraisal: Appraisal, request: SandboxRequest, text: str) -> str:
        if request.schema is not None:
            return _shaped(request.schema)
        verdict = simulated_verdict(character, request.prompt, self._characters, seed=self._seed)
        return verdict or json_object(character, appraisal, text)

    async def _wait(self, simulated_s: float, call: Call) -> None:
        delay_s = simulated_s * self._time_scale
        if delay_s <= 0:
            return
        await asyncio.sleep(min(delay_s, call.timeouts.total_s))
        if delay_s > call.timeouts.total_s:
            raise UpstreamTimeout("timed out")


def _longest(reply: Reply) -> int:
    """Choices are made side by side."""
    return max(choice.tokens for choice in reply.choices)


def _given(seed: int | None) -> tuple[int, ...]:
    """Who sends none gets what was always said."""
    return () if seed is None else (seed,)


def _shaped(schema: object) -> str:
    try:
        return json.dumps(instance(schema))
    except CannotFit:
        raise rejected("response_format: the sandbox finds nothing that fits this schema", "response_format") from None


def _calls(called: Sequence[Tool], max_tokens: int | None, key: str) -> Choice:
    try:
        calls = [tool_call(tool, f"{key} {place}") for place, tool in enumerate(called)]
    except CannotFit:
        raise rejected("tools: the sandbox finds no arguments that fit the parameters", "tools") from None
    if max_tokens is None or sum(call.tokens for call in calls) <= max_tokens:
        return Choice((), calls, "tool_calls")
    kept = calls[0].arguments[: CHARACTERS_PER_TOKEN * max_tokens]
    return Choice((), [replace(calls[0], arguments=kept)], "length")


def _embedding(index: int, vector: list[float], *, packed: bool) -> dict[str, object]:
    # OpenAI's own client asks for base64 unless told otherwise.
    embedding = b64encode(pack(f"<{len(vector)}f", *vector)).decode() if packed else vector
    return {"object": "embedding", "index": index, "embedding": embedding}
