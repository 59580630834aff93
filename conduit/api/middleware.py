"""The stack around the routes, outermost first: one declared tuple, all plain ASGI."""

import re
from collections.abc import Sequence
from functools import cached_property
from random import Random

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from conduit.api.auth import Authentication
from conduit.api.boundary import ErrorBoundary
from conduit.api.headers import OVER_HTTPS, USUAL, CrossOrigin, complete, cors
from conduit.api.opendoor import OpenDoor
from conduit.api.paths import PROBES, routed_path
from conduit.api.payloads import PayloadTap
from conduit.api.peer import TrustedProxies
from conduit.api.ratelimit import RateLimit
from conduit.api.routes import ROUTES
from conduit.api.sizelimit import SizeLimit
from conduit.api.throttle import FailedAuthThrottle
from conduit.core.config import Settings, covered, make_settings, parsed_list
from conduit.core.events import Arrived, Served, nobody
from conduit.core.keys import Limits
from conduit.core.networks import parsed_networks
from conduit.core.protocols import Listener
from conduit.core.request_state import SCOPE, RequestState
from conduit.observability.current import CURRENT
from conduit.observability.logging.access_log import fields_of
from conduit.observability.logging.payloads import PayloadLog
from conduit.routing.protocols import Clock, Ids
from conduit.routing.system import SystemClock, TimeOrderedIds

CLIENT_LEFT = 499
"""In the log, of a caller who went away while sending; nobody gets it."""
PATHS = frozenset(route.path for route in ROUTES)
MOST_OF_A_PATH = 200
SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def middleware(
    settings: Settings, *, clock: Clock, ids: Ids, listener: Listener, payloads: PayloadLog | None = None
) -> Sequence[Middleware]:
    """Outermost first; with `payloads` a copy is taken before the routes.

    Errors become answers inside the headers that every answer has, and limits belong to who was let in.
    """
    kept = () if payloads is None else (_tap(settings, payloads, clock),)
    return (
        Middleware(RequestContext, clock=clock, ids=ids, listener=listener),
        Middleware(TrustedProxies, trusted=parsed_networks(settings.trusted_proxies)),
        Middleware(CrossOrigin, **cors(parsed_list(settings.cors_allowed_origins))),
        Middleware(ErrorBoundary),
        Middleware(
            SizeLimit,
            small=settings.api_max_request_size,
            large=settings.api_max_chat_size,
            most=settings.api_max_bodies_size,
            body_s=settings.api_body_timeout_s,
            clock=clock,
        ),
        Middleware(
            FailedAuthThrottle,
            limit=settings.api_failed_auth_limit,
            ids=ids,
        ),
        Middleware(Authentication, protected_prefixes=covered(settings.api_protected_prefixes)),
        Middleware(
            OpenDoor,
            origins=parsed_list(settings.cors_allowed_origins),
            hosts=(settings.api_host, *parsed_list(settings.api_allowed_hosts)),
        ),
        Middleware(
            RateLimit,
            usual=Limits(
                settings.api_rate_limit or None,
                settings.api_token_limit or None,
                settings.api_concurrent_limit or None,
            ),
            unsaid_tokens=settings.api_token_hold,
            ids=ids,
        ),
        *kept,
    )


def setup_middleware(
    app: Starlette,
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    listener: Listener = nobody,
    payloads: PayloadLog | None = None,
) -> None:
    """Puts the stack around an application, in the place of any that it has; before its first request. Alone it has
    the default settings."""
    settings, clock = settings or make_settings(file={}, environ={}), clock or SystemClock()
    ids = ids or TimeOrderedIds(clock)
    app.user_middleware = list(middleware(settings, clock=clock, ids=ids, listener=listener, payloads=payloads))


def _tap(settings: Settings, payloads: PayloadLog, clock: Clock) -> Middleware:
    keys = frozenset(parsed_list(settings.payload_log_keys))
    random = Random()  # noqa: S311  draws a sample, guards nothing
    return Middleware(PayloadTap, share=settings.payload_log_share, keys=keys, random=random, log=payloads, clock=clock)


def route_of(scope: Scope) -> str:
    """As it is declared; what was refused before it was routed goes by its path, if that is one of ours."""
    found = scope.get("route")
    path = routed_path(scope) if found is None else found.path
    return path if found is not None or path in PATHS else "other"


class RequestContext:
    """Makes the request's state, says in the answer what every answer says, and logs one line when the request ends:
    none is refused without one."""

    def __init__(self, app: ASGIApp, *, clock: Clock, ids: Ids, listener: Listener = nobody) -> None:
        self._app, self._clock, self._ids, self._listener = app, clock, ids, listener

    @cached_property
    def _log(self) -> FilteringBoundLogger:
        """Of how logs are set up by the first request; the proxy that could be had before looks it up each time."""
        bound: FilteringBoundLogger = structlog.get_logger("conduit.access").bind()
        return bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = self._clock.elapsed_s()
        state = scope[SCOPE] = self._arrived(scope)

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                state.status = message["status"]
                usual = OVER_HTTPS if scope.get("scheme") == "https" else USUAL  # by now, of the caller
                complete(message["headers"], usual, state)
            await send(message)

        try:
            await self._app(scope, receive, completed)
        except ClientDisconnect:
            state.status = CLIENT_LEFT
        finally:
            self._served(scope, state, self._clock.elapsed_s() - started_s)

    def _arrived(self, scope: Scope) -> RequestState:
        """Its id is the caller's own when that is sane."""
        headers = dict(scope["headers"])
        own = headers.get(b"x-request-id", b"")
        state = RequestState(str(own, "ascii") if SANE_REQUEST_ID.fullmatch(own) else self._ids.new("req"), headers)
        CURRENT.set(state)
        traceparent = str(headers.get(b"traceparent", b""), "latin-1")
        tracestate = str(headers.get(b"tracestate", b""), "latin-1")
        self._listener(Arrived(scope["method"], scope["path"], state.id, traceparent, tracestate))
        return state

    def _served(self, scope: Scope, state: RequestState, duration_s: float) -> None:
        method, route, status = scope["method"], route_of(scope), state.status
        key_id = state.key.id if state.key else None
        untold = tuple(what for what, counted in state.degraded.items() if not counted)
        self._listener(Served(method, route, status, state.code, duration_s, state.away_s, key_id, untold))
        log = self._log.debug if route in PROBES and status < 400 else self._log.info
        log(
            "request",
            request_id=state.id,
            method=method,
            path=scope["path"][:MOST_OF_A_PATH],
            status=status,
            duration_ms=round(duration_s * 1e3, 2),
            **fields_of(state),
        )
