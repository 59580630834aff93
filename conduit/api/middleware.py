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
from conduit.api.headers import CrossOrigin, SecurityHeaders, cors
from conduit.api.opendoor import OpenDoor
from conduit.api.paths import PROBES, routed_path, sent
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
from conduit.observability.current import CURRENT, Current
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
        Middleware(SecurityHeaders),
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
    """Gives each request its id, and logs one line when it ends: nobody is refused without one.

    What is inside may put fields for that line into ``scope["conduit.log"]``; never a prompt, never a secret. Most of
    them come by events (observability/logging/access_log.py).
    """

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
        request_id, traceparent, tracestate = self._named(scope)
        scope["conduit.request_id"] = request_id
        current = Current()
        note = scope["conduit.log"] = current.note
        CURRENT.set(current)
        self._listener(Arrived(scope["method"], scope["path"], request_id, traceparent, tracestate))
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
        finally:
            duration_s = self._clock.elapsed_s() - started_s
            route, code, key = route_of(scope), note.get("code"), scope.get("conduit.key")
            key_id = key.id if key else None
            told = None if code is None else str(code)
            self._listener(Served(scope["method"], route, status, told, duration_s, current.away_s, key_id))
            log = self._log.debug if route in PROBES and status < 400 else self._log.info
            log(
                "request",
                request_id=request_id,
                method=scope["method"],
                path=scope["path"][:MOST_OF_A_PATH],
                status=status,
                duration_ms=round(duration_s * 1e3, 2),
                **note,
            )

    def _named(self, scope: Scope) -> tuple[str, str, str]:
        """The request's id, the caller's own when it is sane; and the trace that it belongs to, as the caller says."""
        headers = sent(scope)
        own = headers.get(b"x-request-id", b"")
        return (
            str(own, "ascii") if SANE_REQUEST_ID.fullmatch(own) else self._ids.new("req"),
            str(headers.get(b"traceparent", b""), "latin-1"),
            str(headers.get(b"tracestate", b""), "latin-1"),
        )
