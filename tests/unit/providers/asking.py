"""What tests ask the sandbox, and how."""

import json
from typing import Any

from conduit.core.protocols import Call, Frame, Timeouts
from conduit.providers.sandbox import SandboxProvider, sandbox_models

MODELS = {model.name.removeprefix("sandbox/"): model for model in sandbox_models()}
EASY_CHAT = ["hi there", "hello, how are you?", "thanks a lot!", "tell me a joke", "hey, what's up?", "good morning"]
CODE = [
    f"Write a python function that {what}, with tests for the edge cases"
    for what in ("reverses a list", "parses a date", "finds cycles in a graph", "merges intervals", "caches results")
]
HARD_MATH = [
    f"Prove rigorously, step by step and in the general case, that {what}; derive the asymptotic equation"
    for what in ("the sum of squares grows", "every prime divides it", "the matrix has rank two", "the integral exists")
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["C", "F"]},
                "days": {"type": "array", "items": {"type": "integer"}},
                "exact": {"type": "boolean"},
            },
            "required": ["city"],
        },
    },
}


def call(model: str = "small", prompt: str = "hello", *, timeout_s: float = 5.0, **body: Any) -> Call:
    return Call(
        MODELS[model], {"messages": [{"role": "user", "content": prompt}], **body}, Timeouts(total_s=timeout_s), {}
    )


def sandbox(seed: int = 0) -> SandboxProvider:
    return SandboxProvider(seed=seed, time_scale=0.0, now_s=lambda: 1_700_000_000.5)


async def ask(model: str = "small", prompt: str = "hello", **body: Any) -> Any:
    return json.loads((await sandbox().complete(call(model, prompt, **body))).body)


async def frames(call: Call) -> list[Frame]:
    return [frame async for frame in sandbox().stream(call)]
