"""What a list of models says of each: whether it chats, how much it reads, what it can do. Every server says it in its
own fields; what none of them says stays unknown."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from conduit.routing.catalogue import ABILITIES

NAME = re.compile(r"[!-~]{1,200}")
"""Names go into headers: others than printable ASCII without blanks are not offered."""
NOT_FOR_CHAT = re.compile(r"embed|rerank|whisper|tts|moderation|dall-e|transcri|guard", re.IGNORECASE)
"""Names, where nothing else tells what a model is for."""
CHATS = frozenset({"chat", "completion", "completions", "responses", "generate", "text-generation"}) | frozenset(
    {"llm", "vlm", "language", "image-text-to-text"}
)
OTHER_KINDS = re.compile(
    r"embed|rerank|score|classif|image|audio|speech|transcri|tts|stt|moderation|video|ocr|search|realtime|vector"
)
KINDS = ("mode", "type", "model_type", "task", "kind")
"""LiteLLM's; Together's and LM Studio's; Xinference's; others'."""
WINDOWS = (
    ("meta", "n_ctx"),  # llama.cpp, as it was started
    ("loaded_context_length",),  # LM Studio
    ("max_model_len",),  # vLLM, SGLang
    ("top_provider", "context_length"),  # OpenRouter: of who answers at first
    ("context_length",),  # OpenRouter, Together, Fireworks
    ("context_window",),  # Groq
    ("max_context_length",),  # Mistral
    ("max_input_tokens",),  # LiteLLM
    ("metadata", "context_length"),  # DeepInfra
    ("meta", "n_ctx_train"),  # llama.cpp: what the model was trained for
)
"""Where the window stands, the one that holds first."""
MODALITIES = {"image": "vision", "file": "files", "audio": "audio"}
"""Of input -> the ability to take it."""
FLAGS = {
    "supports_vision": "vision",
    "supports_image_input": "vision",
    "vision": "vision",
    "supports_pdf_input": "files",
    "supports_audio_input": "audio",
    "supports_function_calling": "tools",
    "supports_tools": "tools",
    "function_calling": "tools",
    "supports_response_schema": "json",
}
"""Names of yes and no in LiteLLM's, Fireworks' and Mistral's words -> abilities."""
PARAMETERS = {"tools": "tools", "response_format": "json"}
"""OpenRouter's supported_parameters -> abilities."""

Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of a server."""

    upstream: str
    context_window: int | None = None
    abilities: frozenset[str] | None = None
    chats: bool | None = None
    """None: nothing but its name tells."""

    @property
    def says_nothing(self) -> bool:
        return self.context_window is None and self.abilities is None and self.chats is None

    @property
    def for_chat(self) -> bool:
        return NOT_FOR_CHAT.search(self.upstream) is None if self.chats is None else self.chats

    def with_more(self, other: "Listed | None") -> "Listed":
        """What `other` tells of the same model, where it tells anything."""
        return self if other is None or other.says_nothing else replace(other, upstream=self.upstream)


def listed(answer: Entry) -> tuple[Listed, ...] | None:
    """All that have a sound name, whatever they are for, in the server's order; None for what is no list."""
    entries = answer.get("data")
    if not isinstance(entries, list):
        return None
    beside = {name: entry for entry in _objects(answer.get("models")) if isinstance(name := entry.get("name"), str)}
    found: dict[str, Listed] = {}
    for entry in _objects(entries):
        name = entry.get("id")
        if isinstance(name, str) and NAME.fullmatch(name):
            # llama.cpp tells what a model can do in a list beside the one that OpenAI's clients read.
            found.setdefault(name, read({**_capabilities_of(beside.get(name)), **entry}, name))
    return tuple(found.values())


def informed(answer: Entry) -> Mapping[str, Listed]:
    """LiteLLM's /model/info, by name. Of several deployments under one name, what all of them can do."""
    found: dict[str, Listed] = {}
    for entry in _objects(answer.get("data")):
        name, info = entry.get("model_name"), entry.get("model_info")
        if isinstance(name, str) and isinstance(info, dict):
            # What it does not know of a model is null, which says nothing.
            told = read({key: value for key, value in info.items() if value is not None}, name)
            found[name] = _both(found[name], told) if name in found else told
    return found


def read(entry: Entry, name: str) -> Listed:
    capabilities = entry.get("capabilities")
    flags = {**entry, **(capabilities if isinstance(capabilities, dict) else {})}
    return Listed(name, _window(entry), _abilities(entry, flags), _chats(entry, flags))


def _both(one: Listed, other: Listed) -> Listed:
    windows = [each.context_window for each in (one, other) if each.context_window is not None]
    able = [each.abilities for each in (one, other) if each.abilities is not None]
    return Listed(
        one.upstream,
        min(windows, default=None),
        frozenset.intersection(*able) if able else None,
        one.chats if other.chats is None else other.chats,
    )


# ------------------------------------------------------------------ single fields


def _window(entry: Entry) -> int | None:
    windows = [size for path in WINDOWS if (size := _size(_at(entry, path))) is not None]
    whole = _size(entry.get("context_length"))
    return min(windows[0], whole or windows[0]) if windows else None


def _size(value: object) -> int | None:
    """A whole number above zero; 0 is what servers say that do not know."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 1e12:
        return None
    return int(value)


def _chats(entry: Entry, flags: Entry) -> bool | None:
    said = (
        flags.get("supports_chat"),  # Fireworks
        flags.get("completion_chat"),  # Mistral
        False if entry.get("active") is False else None,  # Groq lists what it has taken away
        _talks(_words(_at(entry, ("architecture", "output_modalities")))),  # OpenRouter
        *(_is_chat(kind) for name in KINDS if isinstance(kind := entry.get(name), str)),
        _can_chat(_words(entry.get("capabilities"))),
    )
    return next((each for each in said if isinstance(each, bool)), None)


def _talks(output: frozenset[str]) -> bool | None:
    return "text" in output if output else None


def _is_chat(kind: str) -> bool | None:
    if kind.lower() in CHATS:
        return True
    return False if OTHER_KINDS.search(kind.lower()) else None


def _can_chat(capabilities: frozenset[str]) -> bool | None:
    """Some of them may be about what it does beside."""
    if capabilities & CHATS:
        return True
    return False if capabilities and all(map(OTHER_KINDS.search, capabilities)) else None


def _abilities(entry: Entry, flags: Entry) -> frozenset[str] | None:
    """All but those that the server denies; None where it neither denies nor affirms any."""
    said = dict(_said(entry, flags))
    return ABILITIES - {ability for ability, able in said.items() if not able} if said else None


def _said(entry: Entry, flags: Entry) -> Iterator[tuple[str, bool]]:
    modalities = _words(_at(entry, ("architecture", "input_modalities"))) or _words(entry.get("input_modalities"))
    if modalities:
        yield from ((ability, word in modalities) for word, ability in MODALITIES.items())
    parameters = _words(entry.get("supported_parameters"))
    if parameters:
        yield from ((ability, word in parameters) for word, ability in PARAMETERS.items())
    capabilities = _words(entry.get("capabilities"))
    if "completion" in capabilities:  # llama.cpp, Ollama
        yield from ((able, bool(capabilities & {"multimodal", able})) for able in MODALITIES.values())
    yield from ((ability, able) for flag, ability in FLAGS.items() if isinstance(able := flags.get(flag), bool))


def _capabilities_of(entry: Entry | None) -> Entry:
    return {"capabilities": entry["capabilities"]} if entry is not None and "capabilities" in entry else {}


def _at(entry: Entry, path: Iterable[str]) -> object:
    value: object = entry
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _words(value: object) -> frozenset[str]:
    return (
        frozenset(word.lower() for word in value if isinstance(word, str)) if isinstance(value, list) else frozenset()
    )


def _objects(value: object) -> Iterator[Entry]:
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else iter(())
