"""The stack around the routes, outermost first: one declared tuple, all plain ASGI."""

import re
from collections.abc import Sequence

import structlog
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.auth import Authentication
from conduit.api.envelope import INTERNAL_ERROR, RequestTooLarge, problem_of, problem_response
from conduit.api.routes import ROUTES
from conduit.api.sizelimit import SizeLimit
from conduit.core.config import Settings, parsed_prefixes
from conduit.core.events import Arrived, Served, nobody
from conduit.core.protocols import Clock, Ids, Listener
from conduit.observability.current import CURRENT, Current
from conduit.observability.logs import place

CLIENT_LEFT = 499
"""In the log, of a caller who went away while sending; nobody gets it."""
PATHS = frozenset(route.path for route in ROUTES)
SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def middleware(settings: Settings, *, clock: Clock, ids: Ids, listener: Listener) -> Sequence[Middleware]:
    """Request context > size limit > authentication > routes."""
    return (
        Middleware(RequestContext, clock=clock, ids=ids, listener=listener),
        Middleware(SizeLimit, small=settings.api_max_request_size, large=settings.api_max_chat_size),
        Middleware(Authentication, protected_prefixes=parsed_prefixes(settings.api_protected_prefixes)),
    )


def route_of(scope: Scope) -> str:
    """As it is declared; what was refused before it was routed goes by its path, if that is one of ours."""
    found = scope.get("route")
    path = scope["path"] if found is None else found.path
    return path if found is not None or path in PATHS else "other"


class RequestContext:
    """Gives each request its id, logs one line when it ends, and is the outermost boundary of errors.

    What is inside may put fields for that line into ``scope["conduit.log"]``; never a prompt, never a secret.
    """

    def __init__(self, app: ASGIApp, *, clock: Clock, ids: Ids, listener: Listener = nobody) -> None:
        self._app, self._clock, self._ids, self._listener = app, clock, ids, listener
        self._log = structlog.get_logger("conduit.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = self._clock.elapsed_s()
        request_id = scope["conduit.request_id"] = self._request_id(scope)
        note = scope["conduit.log"] = {}
        current = Current()
        CURRENT.set(current)
        self._listener(Arrived())
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self._app(scope, receive, named)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception as error:  # the outermost boundary
            if status:
                self._log.error("broke off", request_id=request_id, error=type(error).__name__)
                raise
            await self._answer(error, scope, receive, named)
        finally:
            duration_s = self._clock.elapsed_s() - started_s
            code, key = note.get("code"), scope.get("conduit.key")
            served = Served(
                scope["method"], route_of(scope), status, code, duration_s, current.away_s, key.id if key else None
            )
            self._listener(served)
            self._log.info(
                "request",
                request_id=request_id,
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round(duration_s * 1e3, 2),
                **note,
            )

    def _request_id(self, scope: Scope) -> str:
        """The caller's own when it is sane, else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and SANE_REQUEST_ID.fullmatch(value):
                return str(value, "ascii")
        return self._ids.new("req")

    async def _answer(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        problem = problem_of(error) if isinstance(error, RequestTooLarge) else INTERNAL_ERROR
        scope["conduit.log"]["code"] = problem.code
        if problem is INTERNAL_ERROR:  # the place, never the text: it may quote a prompt
            self._log.error("internal error", request_id=scope["conduit.request_id"], where=place(error))
        await problem_response(problem, scope["conduit.request_id"])(scope, receive, send)
