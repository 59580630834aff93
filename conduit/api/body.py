"""Bytes -> validated input: JSON is decoded once, and every mistake names its field."""

import re
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Literal, TypeVar
from uuid import NAMESPACE_OID, uuid5

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from conduit.api.schema import ChatExtension
from conduit.api.structure import check_structure
from conduit.core.aliases import Aliases
from conduit.core.request_state import RequestState, state_of
from conduit.gateway.request.asked import read
from conduit.gateway.request.exchange import Ask
from conduit.routing.catalogue import AUTO
from conduit.routing.errors import InvalidRequest
from conduit.routing.query import Preferences, Query, estimate_tokens

M = TypeVar("M", bound=BaseModel)
FIELD = re.compile(r"[a-z][a-z0-9_]*")
"""A field's name, in a path that also names the kinds of a union."""
MOST_MESSAGES = 10_000
MOST_DEPTH = 200
"""Arrays and objects within each other, the body's own included: whatever reads or writes them later can."""
SESSION = "x-conduit-session"
MOST_OF_A_NAME = 200
NO_ALIASES: Aliases = MappingProxyType({})
SENT_ON = ("traceparent", "tracestate")
OURS = re.compile(r"req_[0-9a-f]{32}")
A_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def session_of(request: Request) -> str | None:
    """The conversation that the header names. Raises InvalidRequest for a name that is too long."""
    name = request.headers.get(SESSION, "")
    if len(name) > MOST_OF_A_NAME:
        raise InvalidRequest(f"{SESSION}: at most {MOST_OF_A_NAME} characters, not {len(name)}", param=SESSION)
    return name or None


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises InvalidRequest (400) when it is anything else."""
    body = await request.body()
    check_structure(body)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"the body is not valid JSON ({error.msg} at {place})", status=400) from None
    if not isinstance(data, dict):
        raise InvalidRequest("the body must be a JSON object", status=400)
    if body.count(b"[") + body.count(b"{") > MOST_DEPTH and _deeper(data, MOST_DEPTH):
        raise InvalidRequest(f"the body is nested more than {MOST_DEPTH} deep", status=400)
    return data


def _deeper(data: dict[str, Any], most: int) -> bool:
    """Whether more than `most` arrays and objects lie within each other."""
    level: list[Any] = [data]
    for _ in range(most):
        level = [
            value
            for each in level
            for value in (each.values() if isinstance(each, dict) else each)
            if isinstance(value, dict | list)
        ]
        if not level:
            return False
    return True


def parsed(model: type[M], data: Any, *, under: str = "") -> M:
    """Raises InvalidRequest that names the first wrong field, `under` a parent field if there is one."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        names = [str(part) for part in problem["loc"] if isinstance(part, int) or FIELD.fullmatch(part)]
        param = ".".join([under, *names] if under else names)
        said = problem["msg"].removeprefix("Value error, ")
        raise InvalidRequest(f"{param or 'body'}: {said}", param=param or None) from None


def chat_ask(
    data: dict[str, Any],
    *,
    default: Preferences,
    headers: dict[str, str],
    session_id: str | None = None,
    size: int = 0,
    cache: Literal["use", "renew", "off"] = "use",
    aliases: Aliases = NO_ALIASES,
    request_id: str | None = None,
    state: RequestState | None = None,
) -> Ask:
    """A chat request: what we need of it is checked, the rest is the provider's business."""
    state = state or RequestState()
    extension = parsed(ChatExtension, data.pop("conduit", None) or {}, under="conduit")
    model = model_of(data, aliases)
    messages = _messages(data)
    asked = read(data, messages)
    query = Query(
        text=asked.text,
        input_tokens=estimate_tokens(asked.weight),
        max_output_tokens=_most_tokens(data),
        requirements=extension.required(asked.needs),
        preferences=extension.wanted(default),
        key_id=state.key.id if state.key else None,
        key_name=state.key.name if state.key else "",
        user_id=user_of(data),
        session_id=extension.session_id or session_id,
        request_id=request_id,
    )
    return Ask(
        query,
        data,
        None if model == AUTO else model,
        headers,
        size,
        cache=cache if extension.cache else "off",
        state=state,
    )


def cache_of(request: Request) -> Literal["use", "renew", "off"]:
    """What the caller's Cache-Control asks for, as browsers mean it."""
    said = {word.strip().lower() for word in request.headers.get("cache-control", "").split(",")}
    if "no-store" in said:
        return "off"
    return "renew" if "no-cache" in said else "use"


def user_of(data: dict[str, Any]) -> str | None:
    """Whom the caller names as its own user, to be kept. A long name is kept as its digest, and sent on as it is."""
    user = data.get("user")
    if not isinstance(user, str):
        return None
    return user if len(user) <= MOST_OF_A_NAME else "sha256:" + sha256(user.encode()).hexdigest()


def wants_stream(data: dict[str, Any]) -> bool:
    return _field(data, "stream", bool) if data.get("stream") is not None else False


def model_of(data: dict[str, Any], aliases: Aliases) -> str:
    """What the name stands for. Raises InvalidRequest."""
    model: str = _field(data, "model", str)
    return aliases.get(model, model)


def request_id_of(request: Request) -> str | None:
    """The caller's own x-request-id, by which feedback may name the answer; None where the id is one that we made."""
    request_id = state_of(request.scope).id
    return request_id if request.headers.get("x-request-id") == request_id else None


def sent_on(request: Request) -> dict[str, str]:
    """What the provider is told of the caller's trace. Some servers take no request id that is not a UUID, so that it
    is one: the caller's own, or one that follows from the request's id."""
    found = {name: request.headers[name] for name in SENT_ON if name in request.headers}
    return {**found, "x-request-id": _as_uuid(state_of(request.scope).id)}


def _as_uuid(request_id: str) -> str:
    """Ours has the layout of a UUIDv7 but for two digits."""
    if OURS.fullmatch(request_id):
        h = request_id[4:]
        return f"{h[:8]}-{h[8:12]}-7{h[13:16]}-8{h[17:20]}-{h[20:]}"
    return request_id if A_UUID.fullmatch(request_id) else str(uuid5(NAMESPACE_OID, request_id))


def _field(data: dict[str, Any], name: str, kind: type[Any]) -> Any:
    if name not in data:
        raise InvalidRequest(f"{name}: field required", param=name)
    if not isinstance(data[name], kind):
        raise InvalidRequest(f"{name}: must be a {kind.__name__}", param=name)
    return data[name]


def _messages(data: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = _field(data, "messages", list)
    if not 0 < len(messages) <= MOST_MESSAGES:
        raise InvalidRequest(f"messages: must hold 1 to {MOST_MESSAGES} messages", param="messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequest(f"messages.{i}: must be an object with a role", param=f"messages.{i}.role")
        if not isinstance(message.get("content"), str | list | None):
            raise InvalidRequest(f"messages.{i}.content: must be a string or a list", param=f"messages.{i}.content")
    return messages


def _most_tokens(data: dict[str, Any]) -> int | None:
    most = data.get("max_completion_tokens")
    most = data.get("max_tokens") if most is None else most
    return most if isinstance(most, int) and not isinstance(most, bool) and most > 0 else None
