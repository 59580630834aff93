"""The one table from exceptions to answers."""

import orjson
import pytest
from starlette.exceptions import HTTPException

from conduit.api.envelope import INTERNAL_ERROR, RequestTooLarge, json_response, problem_of, problem_response
from conduit.core.errors import AllModelsFailed, LedgerConflict, LedgerUnavailable, UpstreamError, UpstreamTimeout
from conduit.routing.decision import Attempt
from conduit.routing.errors import ConduitError, InvalidRequest, NoEligibleModel, NotFound

SECRET = "postgresql://user:hidden@host"
FAILED = [Attempt("a", 0.1, "http 500")]
BROKEN = UpstreamError("http 500", status=500)


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (InvalidRequest("bad", param="x"), 422, "invalid_request", "x"),
        (InvalidRequest("bad", status=400), 400, "invalid_request", None),
        (RequestTooLarge(max_size=1, actual_size=2, setting="API_MAX_CHAT_SIZE"), 413, "request_too_large", None),
        (NotFound("model", "x", param="model"), 404, "not_found", "model"),
        (NoEligibleModel({"a": "max_cost"}), 422, "no_eligible_model", None),
        (AllModelsFailed(FAILED, [BROKEN]), 502, "upstream_error", None),
        (AllModelsFailed(FAILED, [UpstreamTimeout("timed out")]), 504, "upstream_timeout", None),
        (AllModelsFailed(FAILED, [UpstreamError("http 429", status=429)]), 429, "rate_limit_exceeded", None),
        (LedgerUnavailable(SECRET), 503, "ledger_unavailable", None),
        (LedgerConflict(SECRET), 503, "ledger_unavailable", None),
        (HTTPException(404), 404, "not_found", None),
        (HTTPException(405), 405, "method_not_allowed", None),
        (HTTPException(400, SECRET), 400, "invalid_request", None),
        (ConduitError(SECRET), 500, "internal_error", None),
        (ValueError(SECRET), 500, "internal_error", None),
        (RecursionError(SECRET), 500, "internal_error", None),
    ],
)
def test_every_exception_has_its_answer(error: Exception, status: int, code: str, param: str | None) -> None:
    """What is not on the table is ours, and its text stays here."""
    problem = problem_of(error)
    assert (problem.status, problem.code, problem.param) == (status, code, param)
    assert problem.message
    assert SECRET not in problem.message


def test_what_helps_stands_beside_the_error() -> None:
    """Sizes, reasons, attempts; when to come again."""
    assert problem_of(RequestTooLarge(max_size=1, actual_size=2, setting="API_MAX_CHAT_SIZE")).more == {
        "max_size": 1,
        "actual_size": 2,
    }
    assert problem_of(NoEligibleModel({"a": "deny"})).more == {"removed": {"a": "deny"}}
    attempt = {"model": "a", "latency_s": 0.1, "error": "http 500", "counts": False}
    assert problem_of(AllModelsFailed(FAILED, [BROKEN])).more == {"attempts": [attempt]}
    assert problem_of(LedgerUnavailable("x")).headers == {"retry-after": "1"}
    assert problem_of(HTTPException(405, headers={"allow": "GET"})).headers == {"allow": "GET"}


def limited(wait_s: float | None) -> UpstreamError:
    return UpstreamError("http 429", status=429, counts=False, retry_after_s=wait_s)


@pytest.mark.parametrize(
    ("errors", "wait", "final"),
    [
        ([BROKEN], None, False),
        ([BROKEN, BROKEN], None, True),
        ([UpstreamTimeout("timed out")], None, True),
        ([UpstreamError("http 401", status=401)], None, True),
        ([UpstreamError("http 404", status=404)], None, True),
        ([limited(7.0)], "7", False),
        ([limited(None)], "1", False),
        ([limited(30.2), limited(7.5)], "8", False),
        ([limited(3600.0)], "3600", True),
        ([limited(7.0), BROKEN], None, True),
    ],
)
def test_clients_are_told_when_to_ask_again_and_when_that_is_in_vain(
    errors: list[UpstreamError], wait: str | None, final: bool
) -> None:
    headers = problem_of(AllModelsFailed(FAILED, errors)).headers
    assert headers.get("retry-after") == wait
    assert (headers.get("x-should-retry") == "false") is final


def test_the_envelope_is_openais() -> None:
    """error {message, type, param, code}, and beside it the request's id."""
    response = problem_response(problem_of(NotFound("model", "x", param="model")), "req_1")
    body = orjson.loads(bytes(response.body))
    assert response.status_code == 404
    assert set(body) == {"error", "request_id"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["type"], body["request_id"]) == ("invalid_request_error", "req_1")
    assert b"api_error" in bytes(problem_response(INTERNAL_ERROR, "req_1").body)


def test_a_long_name_is_not_sent_back_whole() -> None:
    """Eight megabytes of model name are a mistake, and not an echo."""
    assert len(problem_of(NotFound("model", "x" * 100_000)).message) < 1000


def test_an_infinite_number_is_null_in_json() -> None:
    """JSON knows no other way to say it."""
    assert bytes(json_response({"a": float("inf")}).body) == b'{"a":null}'
