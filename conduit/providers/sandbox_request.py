"""What a caller asks of the sandbox, read from OpenAI's request body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conduit.core.errors import UpstreamRejected
from conduit.providers.json_text import encode

MAX_CHOICES = 128
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_IMAGE = 85

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that must be called."""

    name: str
    parameters: object


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    prompt: str
    """The last thing that the user said."""
    prompt_tokens: int
    n: int
    max_tokens: int | None
    tool: Tool | None
    json: bool
    schema: object
    """Of the JSON that is wanted; None for any object."""
    usage_asked: bool

    @classmethod
    def read(cls, body: Body) -> "SandboxRequest":
        """Raises UpstreamRejected, as a real provider would."""
        messages = _messages(body)
        wanted = _mapping(body.get("response_format"))
        return cls(
            prompt=_prompt(messages),
            prompt_tokens=sum(_tokens(message.get("content")) for message in messages),
            n=_positive(body, "n", at_most=MAX_CHOICES) or 1,
            max_tokens=_positive(body, "max_completion_tokens") or _positive(body, "max_tokens"),
            tool=_tool(body),
            json=wanted.get("type") in ("json_object", "json_schema"),
            schema=_mapping(wanted.get("json_schema")).get("schema"),
            usage_asked=_mapping(body.get("stream_options")).get("include_usage") is True,
        )


def rejected(message: str, param: str) -> UpstreamRejected:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return UpstreamRejected("http 400", status=400, body=encode({"error": error}))


def texts_to_embed(body: Body) -> Sequence[str]:
    """Raises UpstreamRejected. Lists of token numbers count as the text of those numbers."""
    given = body.get("input")
    texts = given if isinstance(given, list) and not _are_numbers(given) else [given]
    if not texts or not all(isinstance(text, str) or _are_numbers(text) for text in texts):
        raise rejected("input must be a string, a list of strings, or token numbers", "input")
    return [text if isinstance(text, str) else str(text) for text in texts]


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(number, int) for number in value)


def _messages(body: Body) -> Sequence[Body]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise rejected("messages must be a list of at least one message", "messages")
    return messages


def _prompt(messages: Sequence[Body]) -> str:
    said = [_text(message.get("content")) for message in messages if message.get("role") == "user"]
    return said[-1] if said else "\n".join(_text(message.get("content")) for message in messages)


def _parts(content: object) -> Sequence[Body]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _text(content: object) -> str:
    texts = (part.get("text") for part in _parts(content))
    return "\n".join(text for text in texts if isinstance(text, str))


def _tokens(content: object) -> int:
    images = sum(part.get("type") == "image_url" for part in _parts(content))
    return 1 + len(_text(content)) // CHARACTERS_PER_TOKEN + TOKENS_PER_IMAGE * images


def _positive(body: Body, name: str, *, at_most: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (at_most and value > at_most):
        upper = f" and at most {at_most}" if at_most else ""
        raise rejected(f"{name} must be a whole number of at least 1{upper}", name)
    return value


def _tool(body: Body) -> Tool | None:
    """The function that the answer has to call: the one named in tool_choice, or the first."""
    offered = body.get("tools")
    functions = [_mapping(_mapping(tool).get("function")) for tool in offered] if isinstance(offered, list) else []
    choice = body.get("tool_choice")
    named = _mapping(_mapping(choice).get("function")).get("name")
    for function in functions:
        if choice == "required" or (named is not None and function.get("name") == named):
            return Tool(str(function.get("name")), function.get("parameters"))
    return None


def _mapping(value: object) -> Body:
    return value if isinstance(value, dict) else {}
