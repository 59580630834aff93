"""Servers that are known by the name of their key, with a few of their chat models.

Context windows and names are those of genai-prices 0.2.3 and of the providers' own pages in November 2026.
"""

from collections.abc import Sequence
from dataclasses import dataclass

TOOLS, VISION, JSON, FILES, AUDIO = "tools", "vision", "json", "files", "audio"
ALL = frozenset({TOOLS, VISION, JSON})
# OpenAI reads PDFs with every model that sees; OpenRouter itself turns them into text for those that do not.
ALL_FILES = ALL | {FILES}
ALL_AUDIO = ALL | {AUDIO}
TEXT = frozenset({TOOLS, JSON})
# OpenAI takes no tools on /chat/completions from models that reason by default since GPT-5.6.
NO_TOOLS = frozenset({VISION, JSON, FILES})
# Anthropic's compatible endpoint ignores response_format.
NO_JSON = frozenset({TOOLS, VISION})


@dataclass(frozen=True, slots=True)
class KnownModel:
    upstream: str
    context_window: int
    abilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class KnownServer:
    name: str
    key: str | None
    """The environment variable that holds the key; None: there is none."""
    base_url: str | None = None
    """None when only the environment can tell."""
    url: str | None = None
    """The environment variable that holds the address, or overrides `base_url`."""
    path: str = "/v1"
    """What follows an address that has no path."""
    prices: str | None = None
    """What genai-prices calls it; None: nobody sells it."""
    usage_in_streams: bool = True
    models: Sequence[KnownModel] = ()
    """Empty: the server must be asked."""


KNOWN_SERVERS: Sequence[KnownServer] = (
    KnownServer(
        name="openai",
        key="OPENAI_API_KEY",
        base_url="https://api.openai.com/v1",
        url="OPENAI_BASE_URL",
        prices="openai",
        models=(
            KnownModel("gpt-5-nano", 400_000, ALL_FILES),
            KnownModel("gpt-5-mini", 400_000, ALL_FILES),
            KnownModel("gpt-4.1-mini", 1_000_000, ALL_FILES),
            KnownModel("gpt-6-luna", 1_050_000, NO_TOOLS),
            KnownModel("gpt-6-sol", 1_050_000, NO_TOOLS),
        ),
    ),
    KnownServer(
        name="azure",
        key="AZURE_OPENAI_API_KEY",
        url="AZURE_OPENAI_ENDPOINT",
        path="/openai/v1",
        prices="azure",
        # Azure calls deployments, whose names are the operator's: these are the names that its portal proposes.
        models=(
            KnownModel("gpt-5-mini", 400_000, ALL),
            KnownModel("gpt-5", 400_000, ALL),
            KnownModel("gpt-4.1-mini", 1_000_000, ALL),
        ),
    ),
    KnownServer(
        name="groq",
        key="GROQ_API_KEY",
        base_url="https://api.groq.com/openai/v1",
        prices="groq",
        models=(
            KnownModel("llama-3.1-8b-instant", 131_072, TEXT),
            KnownModel("openai/gpt-oss-20b", 131_072, TEXT),
            KnownModel("openai/gpt-oss-120b", 131_072, TEXT),
            KnownModel("llama-3.3-70b-versatile", 131_072, TEXT),
        ),
    ),
    KnownServer(
        name="mistral",
        key="MISTRAL_API_KEY",
        base_url="https://api.mistral.ai/v1",
        prices="mistral",
        usage_in_streams=False,  # answers 422 to stream_options, and tells usage in the last chunk unasked
        models=(
            KnownModel("ministral-8b-2512", 262_144, ALL),
            KnownModel("mistral-small-2603", 262_144, ALL),
            KnownModel("codestral-2508", 256_000, TEXT),
            KnownModel("mistral-large-2512", 262_144, ALL),
            KnownModel("mistral-medium-3-5", 262_144, ALL),
        ),
    ),
    KnownServer(
        name="deepseek",
        key="DEEPSEEK_API_KEY",
        base_url="https://api.deepseek.com/v1",
        prices="deepseek",
        models=(KnownModel("deepseek-v4-flash", 1_000_000, TEXT), KnownModel("deepseek-v4-pro", 1_000_000, TEXT)),
    ),
    KnownServer(
        name="together",
        key="TOGETHER_API_KEY",
        base_url="https://api.together.xyz/v1",
        prices="together",
        models=(
            KnownModel("openai/gpt-oss-120b", 131_072, TEXT),
            KnownModel("Qwen/Qwen3.8-Flash", 1_000_000, TEXT),
            KnownModel("meta-llama/Llama-3.3-70B-Instruct-Turbo", 131_072, TEXT),
            KnownModel("zai-org/GLM-5.3", 1_048_575, TEXT),
            KnownModel("moonshotai/Kimi-K3", 1_048_576, TEXT),
        ),
    ),
    KnownServer(
        name="openrouter",
        key="OPENROUTER_API_KEY",
        base_url="https://openrouter.ai/api/v1",
        prices="openrouter",
        models=(
            KnownModel("anthropic/claude-haiku-5.5", 1_000_000, NO_JSON | {FILES}),
            KnownModel("deepseek/deepseek-v4.1-flash", 1_048_576, TEXT | {FILES}),
            KnownModel("google/gemini-3.8-flash", 1_048_576, ALL_FILES | {AUDIO}),
            KnownModel("openai/gpt-5-mini", 400_000, ALL_FILES),
            KnownModel("anthropic/claude-sonnet-5.5", 1_000_000, NO_JSON | {FILES}),
        ),
    ),
    KnownServer(
        name="gemini",
        key="GEMINI_API_KEY",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        prices="google",
        models=(
            KnownModel("gemini-2.5-flash-lite", 1_000_000, ALL_AUDIO),
            KnownModel("gemini-3.5-flash-lite", 1_000_000, ALL_AUDIO),
            KnownModel("gemini-3.8-flash", 1_000_000, ALL_AUDIO),
            KnownModel("gemini-3.1-pro-preview", 1_000_000, ALL_AUDIO),
        ),
    ),
    KnownServer(
        name="anthropic",
        key="ANTHROPIC_API_KEY",
        base_url="https://api.anthropic.com/v1",
        prices="anthropic",
        models=(
            KnownModel("claude-haiku-5-5", 1_000_000, NO_JSON),
            KnownModel("claude-sonnet-5-5", 1_000_000, NO_JSON),
            KnownModel("claude-opus-5-5", 1_000_000, NO_JSON),
        ),
    ),
    KnownServer(name="ollama", key=None, url="OLLAMA_BASE_URL"),
    KnownServer(name="vllm", key="VLLM_API_KEY", url="VLLM_BASE_URL"),
)


def known_variables() -> set[str]:
    """Environment variables that say where they are, and the keys to them."""
    return {name for server in KNOWN_SERVERS for name in (server.key, server.url) if name}
