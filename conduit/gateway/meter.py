"""What an answer used: read from what the provider sent, estimated where it sent nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from conduit.core.query import estimate_tokens

MOST_TOKENS = 10**9
"""A count above it is garbage, and would be believed as dollars."""


@dataclass(slots=True)
class Meter:
    """Reads one answer, whole or frame by frame."""

    input_estimate: int
    _input: int | None = None
    _output: int | None = None
    cached_tokens: int = 0
    """Of the input, those that the provider says it had at hand."""
    _characters: int = 0
    response_id: str | None = None

    def read(self, data: Mapping[str, object]) -> None:
        """One JSON object of the answer."""
        identity = data.get("id")
        if self.response_id is None and isinstance(identity, str) and identity.isascii():
            self.response_id = identity[:200]
        usage = data.get("usage")
        if isinstance(usage, dict):
            self._input = _count(usage.get("prompt_tokens"), self._input)
            self._output = _count(usage.get("completion_tokens"), self._output)
            details = usage.get("prompt_tokens_details")
            if isinstance(details, dict):
                self.cached_tokens = _count(details.get("cached_tokens"), None) or self.cached_tokens
        if self._output is None:
            self._characters += _characters(data.get("choices"))

    @property
    def measured(self) -> bool:
        """Whether the provider counted."""
        return self._input is not None and self._output is not None

    @property
    def input_tokens(self) -> int:
        return self.input_estimate if self._input is None else self._input

    @property
    def output_tokens(self) -> int:
        return estimate_tokens(self._characters) if self._output is None else self._output


def text_of(data: Mapping[str, object]) -> str:
    """The first choice's message as text that can be sent on; empty when it is something else (a tool call, say)."""
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def _count(number: object, otherwise: int | None) -> int | None:
    sane = isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MOST_TOKENS
    return number if sane and isinstance(number, int) else otherwise


def _characters(choices: object) -> int:
    """Of everything that was generated, tool calls included."""
    total = 0
    for choice in choices if isinstance(choices, list) else ():
        part = (choice.get("message") or choice.get("delta")) if isinstance(choice, dict) else None
        if isinstance(part, dict):
            content = part.get("content")
            total += len(content) if isinstance(content, str) else 0
            total += len(str(part["tool_calls"])) if part.get("tool_calls") else 0
    return total
