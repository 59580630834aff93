"""Limits per caller: the verified key, else the peer's address."""

from collections.abc import Sequence
from math import ceil

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.envelope import Problem, problem_of, refuse
from conduit.api.paths import is_preflight, is_probe
from conduit.api.peer import peer_of
from conduit.core.admission import Admission, within
from conduit.core.errors import WindowUnavailable
from conduit.core.keys import Key, Limits
from conduit.core.networks import Network
from conduit.core.protocols import Ids
from conduit.gateway.limiter import Limiter

TOO_MUCH = {
    "requests": "{current} requests within a minute, {limit} are allowed",
    "tokens": "{current} tokens within a minute, {limit} are allowed",
    "concurrent": "{current} requests are running, {limit} may at once",
}


class RateLimit:
    """Lets through whom the limiter lets in, once; tells it when they are done. Probes and preflights are not counted.

    `usual` is what holds where a key says nothing.
    """

    def __init__(self, app: ASGIApp, *, usual: Limits, trusted: Sequence[Network], ids: Ids) -> None:
        self._app, self._usual, self._trusted, self._ids = app, usual, trusted, ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key: Key | None = scope.get("conduit.key")
        limits = self._usual if key is None else within(key.limits, self._usual)
        if scope["type"] != "http" or limits == Limits() or is_probe(scope) or is_preflight(scope):
            await self._app(scope, receive, send)
            return
        limiter: Limiter = scope["app"].state.conduit.limiter
        caller = f"peer:{peer_of(scope, self._trusted)}" if key is None else f"key:{key.id}"
        visit = self._ids.new("visit")
        try:
            entry = await limiter.enter(caller, visit, limits)
        except WindowUnavailable as error:
            await refuse(problem_of(error), scope, receive, send)
            return
        send = _with_headers(send, entry.admission, limits, degraded=entry.degraded)
        if entry.admission.refused:
            await refuse(too_many(entry.admission), scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            if limits.concurrent is not None or limits.tokens_per_minute is not None:
                await limiter.leave(caller, visit, _tokens(scope))


def too_many(admission: Admission) -> Problem:
    """429, with what was too much of what."""
    wait_s = max(ceil(admission.wait_s), 1)
    return Problem(
        429,
        "rate_limit_exceeded",
        TOO_MUCH[admission.refused].format(current=admission.current, limit=admission.limit),
        more={"retry_after": wait_s, "limit": admission.limit, "current": admission.current},
        headers={"retry-after": str(wait_s)},
    )


def _with_headers(send: Send, admission: Admission, limits: Limits, *, degraded: bool) -> Send:
    """Says how many requests are left, of which limit, and when there are more."""
    added: list[tuple[bytes, bytes]] = [(b"x-conduit-degraded", b"ratelimit")] if degraded else []
    limit = admission.limit if admission.refused else limits.requests_per_minute
    if limit is not None:
        reset_s = ceil(admission.now_s + admission.wait_s)
        added += [
            (b"x-ratelimit-limit", b"%d" % limit),
            (b"x-ratelimit-remaining", b"%d" % admission.remaining),
            (b"x-ratelimit-reset", b"%d" % reset_s),
        ]

    async def saying(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"].extend(added)
        await send(message)

    return saying


def _tokens(scope: Scope) -> int:
    """What the request took of the models, as far as is known when it ends."""
    note = scope["conduit.log"]
    return sum(count for name in ("input_tokens", "output_tokens") if isinstance(count := note.get(name), int))
