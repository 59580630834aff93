"""JSON, quickly where it is ordinary and completely where it is not."""

import json

import orjson

from conduit.core.errors import UpstreamError


def encode(value: object) -> bytes:
    """Raises RecursionError for what is nested too deeply."""
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bit, lone surrogates, deep nesting
        return json.dumps(value, separators=(",", ":")).encode()


def decode(text: bytes) -> dict[str, object]:
    """The object that `text` is. Raises UpstreamError when it is none."""
    try:
        value = _loads(text)
    except (ValueError, RecursionError):
        raise UpstreamError("garbage") from None
    if not isinstance(value, dict):
        raise UpstreamError("garbage")
    return value


def _loads(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # half an emoji's surrogates, NaN among logprobs: real servers send them
        value: object = json.loads(text)
        return value
