"""Authentication: who calls, before anything else is done for them."""

from collections.abc import Sequence
from contextlib import nullcontext

from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api.envelope import LimitReached, problem_of, refuse
from conduit.api.paths import is_health, is_preflight, routed_path
from conduit.core.errors import KeysUnavailable, Unauthenticated, WindowUnavailable
from conduit.core.request_state import state_of
from conduit.gateway.access.authenticator import Admitted, Authenticator

BEARER = b"bearer"
UNTHROTTLED = nullcontext()


class Authentication:
    """Puts the caller's Key into the request's state: None where no key is asked for.

    The path that is looked at is the one that the router looks at.
    """

    def __init__(self, app: ASGIApp, *, protected_prefixes: Sequence[str]) -> None:
        self._app = app
        self._protected = tuple(prefix.rstrip("/") + "/" for prefix in protected_prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = state_of(scope)
        if not self._wants_key(scope):
            await self._app(scope, receive, send)
            return
        try:
            admitted = await _admitted(scope)
        except (Unauthenticated, KeysUnavailable, LimitReached, WindowUnavailable) as error:
            await refuse(problem_of(error), scope, receive, send)
            return
        if admitted is not None:
            state.key = admitted.key
            if admitted.remembered:  # it could not be looked up, and is believed for now
                state.degrade("keys")
        await self._app(scope, receive, send)

    def _wants_key(self, scope: Scope) -> bool:
        path = routed_path(scope) + "/"  # whole segments: /v1 is above /v1/chat, and not above /v10
        return path.startswith(self._protected) and not is_health(scope) and not is_preflight(scope)


async def _admitted(scope: Scope) -> Admitted | None:
    """None when nobody needs a key. Raises Unauthenticated and KeysUnavailable; and what a throttle in front of the
    door raises: LimitReached and WindowUnavailable."""
    authenticator: Authenticator = scope["app"].state.conduit.authenticator
    if not await authenticator.asks():
        return None
    async with state_of(scope).attempt or UNTHROTTLED:
        return await authenticator.admit(_token(scope))


def _token(scope: Scope) -> bytes:
    """Of the one Authorization header. Raises Unauthenticated."""
    sent: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    if not sent:
        raise Unauthenticated("authentication_required", "send your key as `Authorization: Bearer <key>`")
    scheme, _, token = sent[0].partition(b" ")
    token = token.strip(b" \t")  # what may stand around any value of a header
    if len(sent) > 1 or scheme.lower() != BEARER or not token:
        raise Unauthenticated("invalid_auth_format", "the Authorization header must be one: `Bearer <key>`")
    return token
