"""Limits per caller: the verified key, else the peer's address."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import ceil

from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api.envelope import LimitReached, Problem, problem_of, refuse
from conduit.api.paths import MODEL_PATHS, declared_size, is_preflight, is_probe, routed_path
from conduit.api.peer import peer_of
from conduit.core.admission import Admission, within
from conduit.core.errors import WindowUnavailable
from conduit.core.keys import Limits
from conduit.core.request_state import RequestState, state_of
from conduit.gateway.access.limiter import Entry, Limiter
from conduit.gateway.request.exchange import Ask
from conduit.routing.protocols import Ids
from conduit.routing.query import estimate_tokens

TOO_MUCH = {
    "requests": "{current} requests within a minute, {limit} are allowed (API_RATE_LIMIT, or the key's own limit)",
    "tokens": "{current} tokens within a minute are taken or set aside, {limit} are allowed (API_TOKEN_LIMIT, or the "
    "key's own limit)",
    "concurrent": "{current} requests are running, {limit} may at once (API_CONCURRENT_LIMIT, or the key's own limit)",
}


class RateLimit:
    """Lets through whom the limiter lets in, once; tells it when they are done. Probes and preflights are not counted.

    `usual` is what holds where a key says nothing; `unsaid_tokens` what is set aside for an answer of any length.
    """

    def __init__(self, app: ASGIApp, *, usual: Limits, ids: Ids, unsaid_tokens: int) -> None:
        self._app, self._usual, self._visits = app, usual, _numbered(ids)
        self._unsaid_tokens = unsaid_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = state_of(scope)
        key = state.key
        limits = self._usual if key is None else within(key.limits, self._usual)
        if limits.none or is_probe(scope) or is_preflight(scope):
            await self._app(scope, receive, send)
            return
        limiter: Limiter = scope["app"].state.conduit.limiter
        caller = f"peer:{peer_of(scope)}" if key is None else f"key:{key.id}"
        visit = next(self._visits)
        try:
            entry = await limiter.enter(caller, visit, limits, self._likely_tokens(scope, limits))
        except WindowUnavailable as error:
            await refuse(problem_of(error), scope, receive, send)
            return
        _tell(state, entry, limits)
        if entry.admission.refused:
            await refuse(too_many(entry.admission), scope, receive, send)
            return
        if limits.tokens_per_minute is not None:
            most, unsaid, held = limits.tokens_per_minute, self._unsaid_tokens, entry.admission.held
            state.allotment = TokenLimit(limiter, caller, visit, most, unsaid, held, state)
        try:
            await self._app(scope, receive, send)
        finally:
            if limits.concurrent is not None or limits.tokens_per_minute is not None:
                await limiter.leave(caller, visit, state.usage.total)

    def _likely_tokens(self, scope: Scope, limits: Limits) -> int:
        """What the route will set aside, if the request has the size that it declares and limits no answer."""
        most = limits.tokens_per_minute
        if most is None or routed_path(scope) not in MODEL_PATHS:
            return 0
        return min(estimate_tokens(declared_size(scope)) + self._unsaid_tokens, most)


@dataclass(slots=True)
class TokenLimit:
    """The tokens of one visit, for whatever has read what it asks for: see request_state.Allotment."""

    limiter: Limiter
    caller: str
    visit: str
    most: int
    """The limit of the caller."""
    unsaid: int
    """For an answer of any length."""
    held: int
    """Set aside since the caller came in."""
    state: RequestState

    async def set_aside(self, tokens: int) -> None:
        """What it may take, before the call; what it took is put in its place when the visit ends. One that may take
        more than the whole limit fits into a minute in which there is no other. Raises LimitReached, and
        WindowUnavailable where limits fail closed."""
        tokens = min(tokens, self.most)
        if tokens <= self.held:
            if tokens < self.held:
                await self.limiter.lower(self.caller, self.visit, tokens)
            return
        entry = await self.limiter.hold(self.caller, self.visit, tokens, self.most)
        if entry.degraded:
            self.state.degrade("ratelimit")
        if entry.admission.refused:
            raise LimitReached(too_many(entry.admission))


async def set_aside(scope: Scope, ask: Ask) -> None:
    """Where the caller has a limit of tokens: see TokenLimit."""
    allotment = state_of(scope).allotment
    if allotment is not None:
        await allotment.set_aside(ask.tokens(unsaid=allotment.unsaid))


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


def _tell(state: RequestState, entry: Entry, limits: Limits) -> None:
    """In the answer: how many requests are left, of which limit, and when there are more."""
    admission = entry.admission
    if entry.degraded:
        state.degrade("ratelimit")
    limit = admission.limit if admission.refused else limits.requests_per_minute
    if limit is not None:
        reset_s = ceil(admission.now_s + admission.wait_s)
        state.answer_headers += [
            (b"x-ratelimit-limit", b"%d" % limit),
            (b"x-ratelimit-remaining", b"%d" % admission.remaining),
            (b"x-ratelimit-reset", b"%d" % reset_s),
        ]


def _numbered(ids: Ids) -> Iterator[str]:
    """Names of visits that no other process has: all of the first, which is drawn when the first request comes."""
    first = ids.new("visit")
    for number in count():
        yield f"{first}.{number}"
