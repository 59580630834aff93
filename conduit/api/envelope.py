"""One error envelope everywhere, in OpenAI's shape: exceptions become it here and nowhere else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from math import ceil
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from conduit.api.missing import MOST_SHOWN, no_such_path
from conduit.api.paths import is_routed, routed_path
from conduit.core.errors import (
    AllModelsFailed,
    BudgetExceeded,
    IdempotencyConflict,
    KeysUnavailable,
    LedgerError,
    PermissionDenied,
    StillRunning,
    Unauthenticated,
    UpstreamRejected,
    WindowUnavailable,
)
from conduit.core.request_state import state_of
from conduit.routing.errors import ConduitError, ContextLengthExceeded, InvalidRequest, NoEligibleModel, NotFound


class Refused(ConduitError):
    """The request is not taken in this form, whatever it asks for."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class RequestTooLarge(Refused):
    """More bytes than this path takes. `actual_size` is what was declared, or as far as it was read; `setting` is what
    the operator can raise."""

    def __init__(self, *, max_size: int, actual_size: int, setting: str) -> None:
        told = f"the body has {actual_size} bytes or more; {max_size} are accepted here ({setting})"
        super().__init__(413, "request_too_large", told)
        self.max_size, self.actual_size = max_size, actual_size


class BodyTooSlow(Refused):
    """It has not come within `body_s` seconds."""

    def __init__(self, body_s: float) -> None:
        super().__init__(408, "request_timeout", f"the body did not come within {body_s:g} seconds; send it again")


class BodiesTooMany(Refused):
    """This process holds as many bytes of bodies as it may."""

    def __init__(self, most: int) -> None:
        told = f"bodies of {most} bytes are being worked on (API_MAX_BODIES_SIZE); send it again"
        super().__init__(503, "overloaded", told)


@dataclass(frozen=True, slots=True)
class Problem:
    """What the caller is told."""

    status: int
    code: str
    message: str
    param: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Beside `error`, at the top level."""
    headers: Mapping[str, str] = field(default_factory=dict)


class LimitReached(ConduitError):
    """What the request may take does not fit any more; `problem` is what the caller is told."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


IN_VAIN = {"x-should-retry": "false"}
"""For OpenAI's clients: do not send it again by yourself."""
LONGEST_RETRY_S = 60
MOST_WORDS = 500
CLOSE = {"connection": "close"}
"""The rest of the body was not read, and would be taken for the next request."""
INTERNAL_ERROR = Problem(500, "internal_error", "something went wrong on our side; the request id finds it in the log")
LEDGER_UNAVAILABLE = Problem(
    503, "ledger_unavailable", "the ledger cannot take this just now; send it again", headers={"retry-after": "1"}
)


def problem_of(error: Exception) -> Problem:
    """What is not told apart here is an internal error, without its text."""
    match error:
        case InvalidRequest():
            problem = Problem(error.status, "invalid_request", str(error), error.param)
        case LimitReached():
            problem = error.problem
        case Refused():
            problem = _not_taken(error)
        case NotFound() | IdempotencyConflict() | StillRunning():
            problem = _of_a_name(error)
        case NoEligibleModel() | BudgetExceeded():
            problem = _nobody_left(error)
        case AllModelsFailed():
            problem = _all_failed(error)
        case Unauthenticated() | PermissionDenied() | KeysUnavailable() | WindowUnavailable():
            problem = _at_the_door(error)
        case LedgerError():
            problem = LEDGER_UNAVAILABLE
        case HTTPException():
            problem = _of_http(error)
        case _:
            problem = INTERNAL_ERROR
    return problem


def _not_taken(error: Refused) -> Problem:
    sizes: dict[str, int] = {}
    if isinstance(error, RequestTooLarge):
        sizes = {"max_size": error.max_size, "actual_size": error.actual_size}
    headers = CLOSE | {"retry-after": "1"} if isinstance(error, BodiesTooMany) else CLOSE
    return Problem(error.status, error.code, str(error), more=sizes, headers=headers)


def _nobody_left(error: NoEligibleModel | BudgetExceeded) -> Problem:
    if isinstance(error, ContextLengthExceeded):
        return Problem(400, "context_length_exceeded", str(error), "messages", more={"removed": error.removed})
    if isinstance(error, NoEligibleModel) and not error.removed:
        return Problem(503, "models_unavailable", str(error), headers={"retry-after": "2"})
    if isinstance(error, NoEligibleModel):
        return Problem(422, "no_eligible_model", str(error), more={"removed": error.removed})
    seconds = max(1, ceil(error.retry_after_s))
    more = {"retry_after": seconds, "limit": error.limit_usd, "account": error.account, "period": error.period}
    return Problem(429, "budget_exceeded", str(error), more=more, headers=_wait(seconds))


def _all_failed(error: AllModelsFailed) -> Problem:
    """Clients ask again by themselves what got 429, 502 or 504; they are told where that is in vain."""
    more: dict[str, Any] = {"attempts": [asdict(a) for a in error.attempts]}
    headers = {"x-conduit-decision": error.decision_id} if error.decision_id else {}
    if error.rate_limited:
        seconds = max(1, ceil(error.retry_after_s or 0.0))
        message, more["retry_after"] = f"{error}{_words_of(error)}", seconds
        return Problem(429, "rate_limit_exceeded", message, more=more, headers=headers | _wait(seconds))
    status, code = (504, "upstream_timeout") if error.timed_out else (502, "upstream_error")
    return Problem(status, code, str(error), more=more, headers=headers | (IN_VAIN if error.final else {}))


def _words_of(error: AllModelsFailed) -> str:
    """The first that a provider said of its limit: meant for the caller, and kept nowhere."""
    for each in error.errors:
        try:
            message = orjson.loads(each.body)["error"]["message"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            continue
        if isinstance(message, str):
            return f"; the provider says: {message[:MOST_WORDS]}"
    return ""


def _wait(seconds: int) -> dict[str, str]:
    """Clients read a long wait in different ways: one sleeps through the day, another asks again at once."""
    return {"retry-after": str(seconds)} | (IN_VAIN if seconds > LONGEST_RETRY_S else {})


def _of_a_name(error: NotFound | IdempotencyConflict | StillRunning) -> Problem:
    """OpenAI's clients send again what got 409, and are told when that cannot help."""
    if isinstance(error, NotFound):
        return Problem(404, "not_found", str(error), error.param)
    if isinstance(error, StillRunning):
        return Problem(409, "idempotency_in_progress", str(error), headers={"retry-after": "1"})
    return Problem(409, "idempotency_conflict", str(error), "Idempotency-Key", headers=IN_VAIN)


def _at_the_door(error: Unauthenticated | PermissionDenied | KeysUnavailable | WindowUnavailable) -> Problem:
    match error:
        case Unauthenticated():
            return Problem(401, error.code, str(error), headers={"www-authenticate": "Bearer"})
        case PermissionDenied():
            return Problem(403, "permission_denied", str(error))
        case KeysUnavailable():
            return Problem(503, "keys_unavailable", str(error), headers={"retry-after": "1"})
        case WindowUnavailable():
            return Problem(503, "limits_unavailable", str(error), headers={"retry-after": "1"})


def _of_http(error: HTTPException) -> Problem:
    codes = {404: "not_found", 405: "method_not_allowed"}
    message = HTTPStatus(error.status_code).phrase.lower()
    return Problem(
        error.status_code, codes.get(error.status_code, "invalid_request"), message, headers=error.headers or {}
    )


def _told_of_path(problem: Problem, request: Request) -> str:
    """What Starlette's router cannot say of a request for which it has no route."""
    path = routed_path(request.scope)
    if problem.status == 404:
        routes = request.app.routes
        return no_such_path(request.method, path, lambda meant: is_routed(meant, routes))
    if problem.status == 405:
        return f"{path[:MOST_SHOWN]} does not take {request.method}, but {problem.headers.get('Allow', 'others')}"
    return problem.message


def json_response(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def problem_response(problem: Problem, request_id: str) -> Response:
    kind = "invalid_request_error" if problem.status < 500 else "api_error"
    error = {"message": problem.message, "type": kind, "param": problem.param, "code": problem.code}
    body = {"error": error, "request_id": request_id, **problem.more}
    return json_response(body, status=problem.status, headers=dict(problem.headers))


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """For a layer that answers itself; the access line says why."""
    state = state_of(scope)
    state.code = problem.code
    await problem_response(problem, state.id)(scope, receive, send)


async def answer_error(request: Request, error: Exception) -> Response:
    """For Starlette's table of exception handlers."""
    state = state_of(request.scope)
    if isinstance(error, UpstreamRejected):
        state.code = "upstream_rejected"
        return _found_again(error, _providers_own(error, state.id))
    problem = problem_of(error)
    if isinstance(error, HTTPException):
        problem = replace(problem, message=_told_of_path(problem, request))
    state.code = problem.code
    return _found_again(error, problem_response(problem, state.id))


def _found_again(error: Exception, response: Response) -> Response:
    """By its decision, whatever it ended by."""
    if isinstance(error, ConduitError) and error.decision_id is not None:
        response.headers["x-conduit-decision"] = error.decision_id
    return response


def _providers_own(error: UpstreamRejected, request_id: str) -> Response:
    """What the provider said of the request is passed on as it is, when it said it in JSON."""
    status = error.status or 400
    try:
        orjson.loads(error.body)
    except orjson.JSONDecodeError:
        return problem_response(Problem(status, "invalid_request", "the provider refused the request"), request_id)
    return Response(error.body, status, media_type="application/json")
