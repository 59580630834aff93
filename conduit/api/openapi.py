"""/openapi.json: what every route takes and answers, in OpenAPI 3.1.

Input is described by the same pydantic models that judge it. That each route is here, and each error of
docs/http-api.md, is tested (tests/unit/api/test_openapi.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from conduit import __version__
from conduit.api.body import MOST_MESSAGES, MOST_OF_A_NAME, SESSION
from conduit.api.openapi_answers import ANSWERS, STRING, Schema, ref, some, thing
from conduit.api.schema import CompleteIn, Extension, FeedbackIn, KeyIn, RotateIn, RouteIn
from conduit.core.keys import ADMIN, COMPLETE, FEEDBACK, READ
from conduit.routing.catalogue import AUTO

JSON = "application/json"
CODES: Mapping[int, tuple[str, ...]] = {
    400: ("invalid_request", "context_length_exceeded"),
    401: ("authentication_required", "invalid_auth_format", "invalid_api_key"),
    403: ("permission_denied", "foreign_host", "foreign_origin"),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("request_timeout",),
    409: ("idempotency_in_progress", "idempotency_conflict", "invalid_request"),
    413: ("request_too_large",),
    415: ("unsupported_encoding", "unsupported_media_type"),
    422: ("invalid_request", "no_eligible_model"),
    429: ("rate_limit_exceeded", "budget_exceeded"),
    431: ("headers_too_large",),
    500: ("internal_error",),
    502: ("upstream_error",),
    503: ("ledger_unavailable", "keys_unavailable", "limits_unavailable", "models_unavailable", "overloaded"),
    504: ("upstream_timeout",),
}
"""Status -> what `error.code` may be."""
ANY = (431, 500)
DOOR = (*ANY, 401, 429, 503)
KEYED = (*DOOR, 403)
SENT = (*KEYED, 413, 415)
READ_BODY = (*SENT, 400, 408, 422)
ASKED = (*READ_BODY, 404, 502, 504)
PASSED_ON = (400, 413, 422)
"""With which a provider may refuse a request itself, in its own words."""

CHAT_IN = {
    "description": "OpenAI's; what is not named here passes to the provider untouched.",
    **thing(
        {
            "model": {"type": "string", "description": "auto, or a name from /v1/models."},
            "messages": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_MESSAGES,
                "items": thing(
                    {"role": STRING}, {"content": {"type": ["string", "array", "null"], "description": "OpenAI's."}}
                ),
            },
        },
        {"stream": {"type": ["boolean", "null"]}, "conduit": some(ref("Extension"))},
    ),
}
EMBEDDINGS_IN = {
    "description": "OpenAI's; passes to the provider untouched.",
    **thing(
        {"model": {"type": "string", "not": {"const": AUTO}}, "input": {"type": ["string", "array"], "minLength": 1}}
    ),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    answer: Mapping[str, Schema]
    """Media type -> what a good answer is."""
    errors: tuple[int, ...]
    takes: str | None = None
    """The name of the body's schema."""
    status: int = 200
    scope: str | None = None
    headers: Mapping[str, Schema] | None = None
    query: Mapping[str, Schema] | None = None
    body_required: bool = True
    passed_on: bool = False
    """Whether a provider's own refusal may come back."""
    leads_to: Mapping[str, Mapping[str, Any]] | None = None
    """What can be done with the answer."""


def _json(name: str) -> Mapping[str, Schema]:
    return {JSON: ref(name)}


ONCE: Mapping[str, Schema] = {"Idempotency-Key": {"type": "string", "pattern": "^[!-~]{1,255}$"}}
IN_SESSION: Mapping[str, Schema] = {SESSION: {"type": "string", "maxLength": MOST_OF_A_NAME}}
CHAT_ANSWER = {JSON: ref("ChatAnswer"), "text/event-stream": {}}
PAGE = {"limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "before": STRING}
HEALTH = _json("Health")

NAMED: Mapping[str, Any] = {"parameters": {"name": "$response.body#/name"}}
TO_A_KEY = {
    "rotate": {"operationId": "post_keys_name_rotate", **NAMED},
    "revoke": {"operationId": "delete_keys_name", **NAMED},
}
TO_A_DECISION: Mapping[str, Mapping[str, Any]] = {
    "decision": {"operationId": "get_decisions_id", "parameters": {"id": "$response.body#/id"}},
    "feedback": {"operationId": "post_feedback", "requestBody": {"response_id": "$response.body#/id"}},
}

OPERATIONS = (
    Operation(
        "POST", "/v1/chat/completions", "Ask; Conduit chooses who answers", CHAT_ANSWER, (*ASKED, 409), "ChatIn",
        scope=COMPLETE, headers={**ONCE, **IN_SESSION}, passed_on=True,
    ),
    Operation(
        "POST", "/v1/embeddings", "Embed by a model that you name", _json("Embeddings"), ASKED, "EmbeddingsIn",
        scope=COMPLETE, passed_on=True,
    ),
    Operation(
        "POST", "/v1/complete", "Ask with one prompt", _json("CompleteAnswer"), (*ASKED, 409), "CompleteIn",
        scope=COMPLETE, headers={**ONCE, **IN_SESSION}, passed_on=True, leads_to=TO_A_DECISION,
    ),
    Operation(
        "POST", "/v1/route", "Decide, and ask nobody", _json("Decision"), READ_BODY, "RouteIn",
        scope=COMPLETE, headers=IN_SESSION, leads_to=TO_A_DECISION,
    ),
    Operation(
        "POST", "/v1/feedback", "Say how good an answer was", _json("FeedbackAnswer"), (*READ_BODY, 404, 409),
        "FeedbackIn", scope=FEEDBACK, headers=ONCE,
    ),
    Operation("GET", "/v1/models", "Who can be asked", _json("Models"), KEYED, scope=COMPLETE),
    Operation("GET", "/v1/models/{id}", "One of them", _json("Model"), (*KEYED, 404), scope=COMPLETE),
    Operation(
        "GET", "/v1/stats", "Totals, savings, drift", _json("Stats"), (*KEYED, 404), scope=READ, query={"key": STRING}
    ),
    Operation("GET", "/v1/decisions", "The audit log", _json("Decisions"), (*KEYED, 422), scope=READ, query=PAGE),
    Operation("GET", "/v1/decisions/{id}", "One decision", _json("Record"), (*KEYED, 404), scope=READ),
    Operation(
        "POST", "/v1/keys", "Make a key", _json("KeyWithSecret"), (*READ_BODY, 409), "KeyIn", status=201, scope=ADMIN,
        leads_to=TO_A_KEY,
    ),
    Operation("GET", "/v1/keys", "All keys, without their secrets", _json("Keys"), KEYED, scope=ADMIN),
    Operation(
        "POST", "/v1/keys/{name}/rotate", "Give a key a new secret", _json("KeyWithSecret"), (*READ_BODY, 404),
        "RotateIn", scope=ADMIN, body_required=False,
    ),
    Operation("DELETE", "/v1/keys/{name}", "Revoke a key, for ever", _json("Key"), (*SENT, 404), scope=ADMIN),
    Operation("GET", "/health/live", "Does the process answer?", HEALTH, ANY),
    Operation("GET", "/health/ready", "Can it serve now?", HEALTH, ANY),
    Operation("GET", "/health/startup", "Has it read its beliefs?", HEALTH, ANY),
    Operation("GET", "/metrics", "What Prometheus reads", {"text/plain": STRING}, (*ANY, 401, 503)),
    Operation("GET", "/openapi.json", "This document", _json("OpenAPI"), DOOR),
)  # fmt: skip


def document() -> dict[str, Any]:
    """The whole of it, ready for JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Conduit",
            "version": __version__,
            "description": "An OpenAI-compatible gateway that learns which model should answer which prompt.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {f"Error{status}": _refusal(status) for status in CODES},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {"summary": operation.summary, "operationId": _name(operation)}
    if operation.scope is not None:
        said["description"] = f"For keys with the scope `{operation.scope}`."
        said["security"] = [{"key": []}] if operation.scope == ADMIN else [{"key": []}, {}]
    if parameters := list(_parameters(operation)):
        said["parameters"] = parameters
    if operation.takes is not None:
        said["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": ref(operation.takes)}},
        }
    return said | {"responses": _responses(operation)}


def _name(operation: Operation) -> str:
    return "_".join([operation.method.lower(), *re.findall(r"[a-z]+", operation.path.removeprefix("/v1"))])


def _parameters(operation: Operation) -> list[Mapping[str, Any]]:
    names: list[str] = re.findall(r"{(\w+)}", operation.path)
    found: list[Mapping[str, Any]] = [{"name": n, "in": "path", "required": True, "schema": STRING} for n in names]
    for place, schemas in (("query", operation.query), ("header", operation.headers)):
        found += [{"name": name, "in": place, "schema": schema} for name, schema in (schemas or {}).items()]
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    links = {"links": operation.leads_to} if operation.leads_to else {}
    responses: dict[str, Any] = {str(operation.status): _answer(operation, "As asked.") | links}
    for status in sorted(operation.errors):
        passed_on = operation.passed_on and status in PASSED_ON
        responses[str(status)] = _passed_on(status) if passed_on else {"$ref": f"#/components/responses/Error{status}"}
    if operation.path == "/health/ready":
        responses["503"] = _answer(operation, "Not now.")
    return responses


def _answer(operation: Operation, description: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {"x-request-id": {"schema": STRING}},
        "content": {media: {"schema": schema} for media, schema in operation.answer.items()},
    }


def _refusal(status: int) -> dict[str, Any]:
    code = {"properties": {"error": {"properties": {"code": {"enum": CODES[status]}}}}}
    schema = {"allOf": [ref("Error"), code]}
    return {"description": HTTPStatus(status).phrase, "content": {JSON: {"schema": schema}}}


def _passed_on(status: int) -> dict[str, Any]:
    """Ours, or any JSON at all."""
    description = f"{HTTPStatus(status).phrase}; the provider's own words where it refused the request"
    return {"description": description, "content": {JSON: {"schema": {"anyOf": [ref("Error"), {}]}}}}


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [CompleteIn, Extension, FeedbackIn, KeyIn, RotateIn, RouteIn]
    inputs = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )[1]["$defs"]
    own = {"ChatIn": CHAT_IN, "EmbeddingsIn": EMBEDDINGS_IN, "Error": _error()}
    return {**inputs, **own, **ANSWERS}


def _error() -> Schema:
    fields = {
        "message": STRING,
        "type": {"enum": ["invalid_request_error", "api_error"]},
        "param": some(STRING),
        "code": {"enum": sorted({code for codes in CODES.values() for code in codes})},
    }
    return thing({"error": thing(fields), "request_id": STRING})


@cache
def _written() -> bytes:
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2)


async def openapi(request: Request) -> Response:  # noqa: ARG001  the same for everybody
    return Response(_written(), media_type=JSON)
