"""The official OpenAI client understands the fake upstream, and the sandbox served over HTTP."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from openai import AsyncOpenAI
from pydantic import BaseModel

from conduit.core.protocols import Call, Timeouts
from conduit.providers.sandbox import SandboxProvider, sandbox_models
from conduit.routing.catalogue import Catalogue
from tests.support.upstream import FakeUpstream

HELLO = [{"role": "user", "content": "hello"}]
MODEL = "sandbox/small"


class Weather(BaseModel):
    city: str
    degrees: int


@pytest.fixture
async def sandbox() -> AsyncIterator[AsyncOpenAI]:
    """A client of the sandbox, served with nothing around it."""
    provider, catalogue = SandboxProvider(time_scale=0.0), Catalogue(sandbox_models())

    async def read(request: web.Request) -> Call:
        body = await request.json()
        return Call(catalogue[body["model"]], body, Timeouts(), {})

    async def chat(request: web.Request) -> web.StreamResponse:
        call = await read(request)
        if not call.body.get("stream"):
            return web.Response(body=(await provider.complete(call)).body, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async for frame in provider.stream(call):
            await response.write(frame.raw or b": hidden\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def embed(request: web.Request) -> web.Response:
        return web.Response(body=(await provider.embed(await read(request))).body, content_type="application/json")

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", chat), web.post("/v1/embeddings", embed)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with AsyncOpenAI(
        base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1", api_key="sk", max_retries=0
    ) as client:
        yield client
    await runner.cleanup()


async def test_a_completion(sandbox: AsyncOpenAI) -> None:
    answer = await sandbox.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
    assert answer.choices[0].message.content
    assert answer.choices[0].message.content.startswith("This is a simulated answer")
    assert answer.usage
    assert answer.model_extra
    assert set(answer.model_extra["conduit_sandbox"]) == {"quality", "kind", "difficulty"}


async def test_a_stream(sandbox: AsyncOpenAI) -> None:
    whole = await sandbox.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
    async with sandbox.chat.completions.stream(
        model=MODEL,
        messages=HELLO,  # type: ignore[arg-type]
        stream_options={"include_usage": True},
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"
    assert final.usage == whole.usage


async def test_structured_output(sandbox: AsyncOpenAI) -> None:
    answer = await sandbox.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Weather)  # type: ignore[arg-type]
    assert answer.choices[0].message.parsed == Weather(city="simulated", degrees=1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_call(sandbox: AsyncOpenAI, *, stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": Weather.model_json_schema()}}
    asked = {"model": MODEL, "messages": HELLO, "tools": [tool], "tool_choice": "required"}
    if stream:
        async with sandbox.chat.completions.stream(**asked) as events:  # type: ignore[arg-type]
            answer = await events.get_final_completion()
    else:
        answer = await sandbox.chat.completions.create(**asked)  # type: ignore[call-overload]
    called = answer.choices[0].message.tool_calls[0].function  # type: ignore[index]
    assert Weather.model_validate_json(called.arguments)
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_an_embedding(sandbox: AsyncOpenAI) -> None:
    answer = await sandbox.embeddings.create(model=MODEL, input=["one", "two"])
    assert [len(entry.embedding) for entry in answer.data] == [256, 256]


async def test_the_fake_upstream_is_understood_too(upstream: FakeUpstream) -> None:
    async with AsyncOpenAI(base_url=upstream.base_url, api_key="sk", max_retries=0) as client:
        whole = await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
        async with client.chat.completions.stream(model="m", messages=HELLO) as stream:  # type: ignore[arg-type]
            streamed = await stream.get_final_completion()
        assert whole.choices[0].message.content == streamed.choices[0].message.content == "Hello there."
        assert (await client.embeddings.create(model="m", input="x")).data[0].embedding == [0.6, 0.8]
        assert [model.id async for model in client.models.list()] == ["fake-model"]
