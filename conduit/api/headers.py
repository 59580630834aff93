"""Headers that every answer has, refusals included."""

from collections.abc import Mapping
from typing import Any

from starlette import datastructures
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from conduit.api.envelope import Problem, refuse
from conduit.api.paths import is_preflight, sent
from conduit.core.request_state import RequestState

Headers = list[tuple[bytes, bytes]]

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of answers that are no pages; a page says its own."""
NOT_KEPT = (b"cache-control", b"no-store")
HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")
USUAL = [*SECURITY, NO_PAGE, NOT_KEPT]
NAMES = frozenset(name for name, _ in (*USUAL, HTTPS_ONLY))
OVER_HTTPS = [*USUAL, HTTPS_ONLY]
NOT_FROM_THERE = "pages of this origin may not send this; see CORS_ALLOWED_ORIGINS"


def complete(headers: Headers, usual: Headers, state: RequestState) -> None:
    """Adds to an answer's `headers` what every answer says, of the `usual` ones those that it does not say itself."""
    said = dict(headers)
    headers.extend(usual if said.keys().isdisjoint(NAMES) else (h for h in usual if h[0] not in said))
    headers.extend(state.answer_headers)
    if state.degraded:
        headers.append((b"x-conduit-degraded", ", ".join(state.degraded).encode()))
    headers.append((b"x-request-id", state.id.encode()))


class CrossOrigin(CORSMiddleware):
    """Only for whoever says where they come from: others are no pages in a browser, and nothing they get is cached.

    A preflight that is refused is told so like everybody else.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"origin" not in sent(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and is_preflight(scope):
            answer = self.preflight_response(request_headers=datastructures.Headers(scope=scope))
            if answer.status_code < 400:
                await answer(scope, receive, send)
            else:
                said = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
                await refuse(Problem(400, "invalid_request", NOT_FROM_THERE, headers=said), scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def cors(origins: tuple[str, ...]) -> Mapping[str, Any]:
    """For Starlette's CORSMiddleware. Keys go in a header that scripts set: cookies are never asked for, so that any
    origin may be named, the wildcard too."""
    return {
        "allow_origins": origins,
        "allow_methods": ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"),
        "allow_headers": ("*",),  # OpenAI's own client sends a dozen of its own; without cookies none is worth forging
        "expose_headers": (
            "idempotent-replayed",
            "retry-after",
            "x-conduit-attempts",
            "x-conduit-cache",
            "x-conduit-cost-usd",
            "x-conduit-decision",
            "x-conduit-degraded",
            "x-conduit-estimated-cost-usd",
            "x-conduit-model",
            "x-conduit-propensity",
            "x-conduit-shadow-price",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-request-id",
            "x-should-retry",
        ),
        "allow_credentials": False,
        "max_age": 600,
    }
