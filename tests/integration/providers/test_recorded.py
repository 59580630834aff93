"""A fake upstream replays a table of recorded outcomes, as a process of its own too."""

import asyncio
import gzip
import json
import socket
import sys
from pathlib import Path

import pytest

from conduit.core.errors import UpstreamError
from conduit.core.protocols import Call, Timeouts
from conduit.providers.openai import OpenAIProvider
from conduit.routing.catalogue import Model, Price
from tests.support.upstream import ANY_MODEL, FakeUpstream, recorded

PRICES = {"cheap": 0.4, "dear:v1=beta": 10.0}
FIRST = {"cheap": {"quality": 0.25, "cost_usd": 2e-5}, "dear:v1=beta": {"quality": 1.0, "cost_usd": 0.0123}}
SECOND = {"cheap": {"quality": 0.5, "cost_usd": 0.0}, "free": {"quality": 1, "cost_usd": 0, "output_tokens": 7}}
ROWS = [{"id": "1", "prompt": "first", "outcomes": FIRST}, {"id": "2", "prompt": "séc\nond", "outcomes": SECOND}]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode()))
    return path


def call(model: str, prompt: str, **body: object) -> Call:
    messages = [
        {"role": "user", "content": "earlier"},
        {"role": "user", "content": prompt},
        {"role": "system", "content": "s"},
    ]
    return Call(
        Model(model, "fake", price=Price(0.0, PRICES.get(model, 0.0))), {"messages": messages, **body}, Timeouts(), {}
    )


async def test_cost_and_quality_are_the_recorded_ones(
    upstream: FakeUpstream, provider: OpenAIProvider, table: Path
) -> None:
    upstream.plan(ANY_MODEL, recorded(table, PRICES))
    for row in ROWS:
        for model, outcome in row["outcomes"].items():  # type: ignore[attr-defined]
            asked = call(model, row["prompt"])  # type: ignore[arg-type]
            answer = (await provider.complete(asked)).data
            tokens = answer["usage"]["completion_tokens"]  # type: ignore[index]
            assert answer["recorded"] == {"quality": outcome["quality"]}
            assert tokens >= 1
            assert asked.model.price
            assert asked.model.price.cost_usd(1, tokens) == pytest.approx(outcome["cost_usd"], abs=5e-7), (
                "one token is the least"
            )


async def test_a_stream_tells_them_in_its_last_chunk(
    upstream: FakeUpstream, provider: OpenAIProvider, table: Path
) -> None:
    upstream.plan(ANY_MODEL, recorded(table, PRICES))
    got = [frame.data async for frame in provider.stream(call("cheap", "first", stream=True)) if frame.data]
    assert got[-2]["recorded"] == {"quality": 0.25}
    assert got[-1]["usage"]["completion_tokens"] == 50  # type: ignore[index]


@pytest.mark.parametrize(("model", "prompt"), [("cheap", "third"), ("unheard", "first")])
async def test_what_is_not_in_the_table_is_not_found(
    upstream: FakeUpstream, provider: OpenAIProvider, table: Path, model: str, prompt: str
) -> None:
    upstream.plan(ANY_MODEL, recorded(table, PRICES))
    with pytest.raises(UpstreamError, match="http 404"):
        await provider.complete(call(model, prompt))


async def test_as_a_process(table: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    prices = [f"--price={model}={usd}" for model, usd in PRICES.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.upstream", f"--port={port}", f"--table={table}", *prices,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout
        assert f":{port}/v1" in (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        provider = OpenAIProvider(f"http://127.0.0.1:{port}/v1")
        answer = await provider.complete(call("dear:v1=beta", "first"))
        await provider.close()
        assert answer.data["usage"]["completion_tokens"] == 1230  # type: ignore[index]
    finally:
        process.terminate()
        await process.communicate()
