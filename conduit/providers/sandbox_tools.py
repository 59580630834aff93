"""Which tools a sandbox model calls: those that it must, or those of which the prompt speaks."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from conduit.providers.sandbox_schema import CannotFit, instance
from conduit.providers.sandbox_wire import ToolCall

MOST_CALLS = 8
"""Side by side."""
STEM = 5
"""So many letters of a word count: "calculate" and "calculator" are one."""
SILENT = frozenset(
    re.findall(
        r"\w+",
        """
        a about all an and any are as at be by can current do for from function get given has have how if in into is
        it its make me more my new no not of on one or our out please return returns run set so some such take than
        that the their them then there these this to tool up use used user value was we what when where which who
        will with you your
        """,
    )
)
"""Words that speak of no tool."""

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that is offered."""

    name: str
    description: str
    parameters: object


@dataclass(frozen=True, slots=True)
class Tools:
    """What may be called, and what of it must be."""

    offered: Sequence[Tool]
    choice: Literal["none", "auto", "required", "named"]
    parallel: bool

    @classmethod
    def read(cls, body: Body) -> "Tools":
        """Of OpenAI's request; what is no function is passed over."""
        given = body.get("tools")
        functions = [_mapping(_mapping(tool).get("function")) for tool in given] if isinstance(given, list) else []
        offered = [
            Tool(str(each["name"]), str(each.get("description", "")), each.get("parameters"))
            for each in functions
            if each.get("name")
        ]
        choice, names = _choice(body.get("tool_choice"))
        chosen = [tool for tool in offered if names is None or tool.name in names]
        return cls(chosen, choice if chosen else "none", body.get("parallel_tool_calls") is not False)

    def called(self, prompt: str, *, answered: bool) -> Sequence[Tool]:
        """`answered`: a tool has just been heard, so that now it is time for words, unless a call is required."""
        if self.choice == "none" or (self.choice == "auto" and answered):
            return ()
        meant = [tool for tool in self.offered if self.choice == "named" or _speaks_of(prompt, tool)]
        if self.choice == "required":
            meant = meant or list(self.offered[:1])
        return meant[: MOST_CALLS if self.parallel else 1]


def tool_call(tool: Tool, key: str) -> ToolCall:
    """With arguments that fit. Raises CannotFit."""
    arguments = {} if tool.parameters is None else instance({"type": "object", **_object(tool.parameters)})
    name = "call_" + blake2b(key.encode(errors="replace"), digest_size=12).hexdigest()
    return ToolCall(name, tool.name, json.dumps(arguments))


def _object(parameters: object) -> Body:
    if not isinstance(parameters, dict):
        raise CannotFit
    return parameters


def _choice(said: object) -> tuple[Literal["none", "auto", "required", "named"], frozenset[object] | None]:
    """And the names to which it is bound; None for all."""
    match said:
        case "none" | "required":
            return said, None
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(allowed), **rest}}:
            names = frozenset(str(_mapping(_mapping(tool).get("function")).get("name")) for tool in allowed)
            return ("required" if rest.get("mode") == "required" else "auto"), names
        case {"function": {"name": name}}:
            return "named", frozenset({str(name)})
    return "auto", None


def _speaks_of(prompt: str, tool: Tool) -> bool:
    """One word of its name, or two of its description, as a model would see what it is good for."""
    said = _stems(prompt)
    return bool(said & _stems(tool.name)) or len(said & _stems(tool.description)) > 1


def _stems(text: str) -> frozenset[str]:
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).lower()
    words = re.findall(r"[^\W_]+", parted)
    return frozenset(word[:STEM] for word in words if len(word) > 1 and word not in SILENT)


def _mapping(value: object) -> Body:
    return value if isinstance(value, dict) else {}
