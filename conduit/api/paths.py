"""What several layers must know of a request before it is routed."""

from collections.abc import Iterable, Mapping

from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from conduit.core.request_state import SCOPE, RequestState

HEALTH = "/health/"
PROBES = frozenset({"/health/live", "/health/ready", "/health/startup", "/metrics"})
"""Asked every few seconds by machines that watch the process."""
MODEL_PATHS = frozenset({"/v1/chat/completions", "/v1/embeddings", "/v1/complete"})
"""Where a request makes a model answer."""
MOST_DIGITS = 18
"""Of a declared size: more make a number no smaller, and at some thousand Python refuses to read it."""


def sent(scope: Scope) -> Mapping[bytes, bytes]:
    """Headers by name, of each the last: made once a request by the outermost layer, where there is one."""
    state: RequestState | None = scope.get(SCOPE)
    return dict(scope["headers"]) if state is None else state.headers


def routed_path(scope: Scope) -> str:
    """What the router looks at, not what a URL looks like: `root_path` is taken off, and nothing is decoded or
    normalised that the router would not."""
    return get_route_path(scope)


def is_routed(path: str, routes: Iterable[BaseRoute]) -> bool:
    """Whether one of them is for this path, by whatever method."""
    asked = {"type": "http", "method": "GET", "path": path}
    return any(route.matches(asked)[0] is not Match.NONE for route in routes)


def is_health(scope: Scope) -> bool:
    """Whoever watches the process must see it: no key and no limit stands in front of these, whatever they are."""
    return routed_path(scope).startswith(HEALTH)


def is_probe(scope: Scope) -> bool:
    path = routed_path(scope)
    return path.startswith(HEALTH) or path in PROBES


def is_preflight(scope: Scope) -> bool:
    """A browser asks without a key whether it may send one; nothing but OPTIONS is routed by it."""
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in sent(scope)


def declared_size(scope: Scope) -> int:
    """Of Content-Length; 0 when it is missing or no number: what arrives is counted in any case."""
    value = sent(scope).get(b"content-length", b"")
    return int(value[:MOST_DIGITS]) if value.isdigit() else 0
