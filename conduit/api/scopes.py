"""What a key may do: each route under /v1 names the scope that it needs."""

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from conduit.core.errors import PermissionDenied, Unauthenticated
from conduit.core.keys import ADMIN, Key
from conduit.core.request_state import state_of

Endpoint = Callable[[Request], Awaitable[Response]]


def needs(scope: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint for keys that have `scope`. Where no key is asked for everybody may do everything, except what needs
    an admin: an open gateway must not let the first who comes lock out all others."""

    @wraps(endpoint)
    async def checked(request: Request) -> Response:
        key = caller(request)
        if key is None and scope == ADMIN:
            raise _no_admin(request)
        if key is not None and not key.may(scope):
            raise PermissionDenied(f"the key {key.name!r} lacks the scope {scope!r}")
        return await endpoint(request)

    return checked


def _no_admin(request: Request) -> Unauthenticated:
    """Where there is no key whoever sends one sends a wrong one."""
    code = "invalid_api_key" if "authorization" in request.headers else "authentication_required"
    told = "this needs an admin's key: set API_KEY, or `conduit keys create NAME --scope admin` on the server"
    return Unauthenticated(code, told)


def caller(request: Request) -> Key | None:
    """None where no key is asked for."""
    return state_of(request.scope).key


def caller_id(request: Request) -> str | None:
    """What the ledger keeps of who called."""
    key = caller(request)
    return None if key is None else key.id


def caller_name(request: Request) -> str:
    """Whose account pays."""
    key = caller(request)
    return "" if key is None else key.name


def owner(request: Request) -> str | None:
    """The id of the only key whose decisions the caller may see; None for everybody's."""
    key = caller(request)
    return None if key is None or key.is_admin else key.id
