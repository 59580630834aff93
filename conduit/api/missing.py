"""What is said of a path that is not there: which one was meant, and what is offered instead."""

from collections.abc import Callable

OFFERED = "POST /v1/chat/completions, POST /v1/embeddings and GET /v1/models"
ELSEWHERE = frozenset(
    {
        *("responses", "completions", "messages", "audio", "images", "videos", "files", "uploads", "batches"),
        *("assistants", "threads", "moderations", "fine_tuning", "realtime", "rerank", "vector_stores"),
        *("conversations", "containers", "evals", "chat", "generate", "tags", "show", "engines"),
    }
)
"""First parts of paths that other servers of models have."""
MOST_SHOWN = 100
BASE = "the base URL is http://HOST:PORT/v1, and clients add the rest"


def no_such_path(method: str, path: str, is_ours: Callable[[str], bool]) -> str:
    """Says neither "model" nor only "not found": clients take that for a model's name that is wrong."""
    shown = path if len(path) <= MOST_SHOWN else f"{path[:MOST_SHOWN]}..."
    parts = [part for part in path.split("/") if part]
    meant = next((plain for plain in _likely(parts) if is_ours(plain)), None)
    if meant is not None:
        return f"no such path: {method} {shown}; use {method} {meant} ({_why(path, parts)})"
    if _first(parts) in ELSEWHERE:
        return f"no such path: {method} {shown} is not offered by this gateway; it has {OFFERED}"
    return f"no such path: {method} {shown}; this gateway has {OFFERED} ({BASE})"


def _likely(parts: list[str]) -> list[str]:
    """As it stands without empty parts, behind its last /v1, and with a /v1 before it."""
    after = parts[len(parts) - parts[::-1].index("v1") :] if "v1" in parts else parts
    return ["/" + "/".join(each) for each in (parts, ["v1", *after], after)]


def _why(path: str, parts: list[str]) -> str:
    if parts.count("v1") > 1:
        return f"/v1 is there more than once: {BASE}"
    if "v1" not in parts or parts[0] != "v1":
        return BASE
    if "//" in path:
        return "without the empty part between two slashes"
    return "without the slash at its end"


def _first(parts: list[str]) -> str:
    """Behind /v1, and behind the /api of Ollama and others."""
    return next((part for part in parts if part not in {"v1", "api", "openai"}), "")
