"""Which field limits an answer is a matter of the model, whoever sells it."""

import pytest

from conduit.gateway.request.limits import limit_of
from conduit.routing.catalogue import Model

NEWER = (
    "gpt-5", "gpt-5-mini", "gpt-5.2", "gpt-6-luna", "gpt-10", "o1", "o1-mini", "o3", "o3-pro", "o4-mini", "o5",
    "openai/gpt-5-mini", "openai/o3-mini", "openrouter/openai/gpt-5-nano", "azure/GPT-5", "openai.gpt-5-v1:0",
    "ft:gpt-5-mini:acme::x", "gpt5", "our-gpt-5-in-sweden", "gpt-5-mini-2025-08-07", "openai/gpt-5:flex",
)  # fmt: skip
ELDER = (
    "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4-turbo", "gpt-3.5-turbo", "gpt-35-turbo", "gpt-41-mini", "gpt4",
    "chatgpt-4o-latest", "openai/gpt-oss-120b", "openai/gpt-oss-20b", "gpt-neox-20b", "nemotron-gpt-20b", "llama-3.3",
    "claude-opus-5-5", "gemini-3.8-flash", "deepseek-v4-pro", "marco-o1", "llama-o1", "phi-5", "ohio1", "o200k", "m",
)  # fmt: skip


@pytest.mark.parametrize("name", NEWER)
def test_openais_newer_models_take_only_the_newer_field(name: str) -> None:
    assert limit_of(Model("mine", "lab", name)) == "max_completion_tokens"
    assert limit_of(Model(name, "azure", "deployment-1")) == "max_completion_tokens"


@pytest.mark.parametrize("name", ELDER)
def test_all_others_take_the_elder(name: str) -> None:
    assert limit_of(Model(name, "openai", name)) == "max_tokens"
