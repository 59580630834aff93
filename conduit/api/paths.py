"""What several layers must know of a request before it is routed."""

from starlette.types import Scope

PROBES = frozenset({"/health/live", "/health/ready", "/health/startup", "/metrics"})
"""Asked every few seconds by machines that watch the process."""


def is_probe(scope: Scope) -> bool:
    return scope["path"] in PROBES


def is_preflight(scope: Scope) -> bool:
    """A browser asks without a key whether it may send one; nothing but OPTIONS is routed by it."""
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )
