"""What a caller asks of the sandbox, read from OpenAI's request body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from conduit.core.errors import UpstreamRejected
from conduit.providers.json_text import encode
from conduit.providers.sandbox_tools import Tools

MAX_CHOICES = 128
MAX_STOPS = 4
MAX_TOP_LOGPROBS = 20
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_IMAGE = 85

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    prompt: str
    """The last thing that the user said."""
    prompt_tokens: int
    n: int
    max_tokens: int | None
    stop: Sequence[str]
    seed: int | None
    top_logprobs: int | None
    """How many alternatives are told with each token; None: no probabilities at all."""
    tools: Tools
    results: Sequence[str] | None
    """What tools have just answered; None: the last word was not theirs."""
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
            stop=_stop(body.get("stop")),
            seed=_seed(body.get("seed")),
            top_logprobs=_top_logprobs(body),
            tools=Tools.read(body),
            results=_results(messages),
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


def _stop(said: object) -> Sequence[str]:
    given = [said] if isinstance(said, str) else said or []
    if isinstance(given, list) and len(given) <= MAX_STOPS and all(isinstance(one, str) and one for one in given):
        return given
    raise rejected(f"stop must be a string, or a list of at most {MAX_STOPS} strings", "stop")


def _seed(said: object) -> int | None:
    if said is not None and (not isinstance(said, int) or isinstance(said, bool)):
        raise rejected("seed must be a whole number", "seed")
    return said


def _top_logprobs(body: Body) -> int | None:
    wanted, top = body.get("logprobs"), body.get("top_logprobs")
    if wanted not in (None, True, False):
        raise rejected("logprobs must be true or false", "logprobs")
    if top is None:
        return 0 if wanted else None
    if not isinstance(top, int) or isinstance(top, bool) or not 0 <= top <= MAX_TOP_LOGPROBS:
        raise rejected(f"top_logprobs must be a whole number from 0 to {MAX_TOP_LOGPROBS}", "top_logprobs")
    if not wanted:
        raise rejected("top_logprobs is told with logprobs only: set logprobs to true", "top_logprobs")
    return top


def _results(messages: Sequence[Body]) -> Sequence[str] | None:
    last = list(takewhile(lambda message: message.get("role") == "tool", reversed(messages)))
    return [_text(message.get("content")) for message in reversed(last)] if last else None


def _mapping(value: object) -> Body:
    return value if isinstance(value, dict) else {}
