"""The sandbox's streams, time and embeddings."""

import json
import math
from base64 import b64decode
from struct import unpack
from typing import Any

import pytest

from conduit.core.errors import UpstreamRejected, UpstreamTimeout
from conduit.providers.sandbox import SandboxProvider
from tests.unit.providers.asking import CODE, TOOL, ask, call, frames, sandbox

# ------------------------------------------------------------------ streams


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 2},
        {"max_tokens": 11},
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
    ],
)
async def test_a_stream_says_what_the_whole_answer_says(body: dict[str, Any]) -> None:
    whole = await ask("large", CODE[0], **body)
    got = [frame.data for frame in await frames(call("large", CODE[0], stream=True, **body)) if frame.data]
    for expected in whole["choices"]:
        parts = [c for data in got for c in data["choices"] if c["index"] == expected["index"]]  # type: ignore[attr-defined]
        assert parts[-1]["finish_reason"] == expected["finish_reason"]
        assert parts[0]["delta"]["role"] == "assistant"
        assert "".join(part["delta"].get("content") or "" for part in parts) == (expected["message"]["content"] or "")
        calls = [call for part in parts for call in part["delta"].get("tool_calls", [])]
        arguments = "".join(call["function"]["arguments"] for call in calls)
        assert arguments == "".join(c["function"]["arguments"] for c in expected["message"].get("tool_calls", []))
    assert got[-1]["usage"] == whole["usage"]
    assert got[-2]["conduit_sandbox"] == whole["conduit_sandbox"]


async def test_frames_are_events_whose_data_they_hold() -> None:
    for frame in await frames(call(stream=True, stream_options={"include_usage": True})):
        assert frame.raw.startswith(b"data: ")
        assert frame.raw.endswith(b"\n\n")
        assert json.loads(frame.raw[6:]) == frame.data


async def test_usage_is_hidden_from_who_did_not_ask() -> None:
    got = await frames(call(stream=True))
    assert [frame.raw == b"" for frame in got] == [False] * (len(got) - 1) + [True]
    assert got[-1].data


# ------------------------------------------------------------------ time


async def test_a_model_slower_than_the_time_out_times_out() -> None:
    slow = SandboxProvider(seed=0, time_scale=1000.0)
    with pytest.raises(UpstreamTimeout, match="timed out"):
        await slow.complete(call(timeout_s=0.01))


async def test_time_can_be_scaled() -> None:
    brisk = SandboxProvider(seed=0, time_scale=1e-6)
    assert (await brisk.complete(call())).data


# ------------------------------------------------------------------ embeddings


async def test_embeddings_are_unit_vectors_and_alike_for_alike_texts() -> None:
    texts = ["the cat sat on the mat", "a cat sat on a mat", "quarterly revenue grew by nine percent", ""]
    answer = (await sandbox().embed(call(input=texts, dimensions=512))).data
    vectors = [entry["embedding"] for entry in answer["data"]]  # type: ignore[attr-defined]
    assert [len(vector) for vector in vectors] == [512] * 4
    for vector in vectors:
        assert math.hypot(*vector) == pytest.approx(1.0)

    def alike(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert alike(vectors[0], vectors[1]) > alike(vectors[0], vectors[2]) + 0.2


async def test_embeddings_come_packed_on_request() -> None:
    plain, packed = [
        (await sandbox().embed(call(input="hello world", encoding_format=form))).data["data"][0]["embedding"]  # type: ignore[index]
        for form in ("float", "base64")
    ]
    assert list(unpack("<256f", b64decode(packed))) == pytest.approx(plain)


async def test_token_numbers_can_be_embedded() -> None:
    assert len((await sandbox().embed(call(input=[[1, 2], [3]]))).data["data"]) == 2  # type: ignore[arg-type]
    assert len((await sandbox().embed(call(input=[1, 2]))).data["data"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": [1.5]}, {"input": "a", "dimensions": 10**9}])
async def test_what_cannot_be_embedded_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamRejected):
        await sandbox().embed(call(**body))


async def test_closing_is_always_possible() -> None:
    await sandbox().close()
