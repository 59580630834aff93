"""Windows of one process: what its callers did within the last minute, by a clock that never runs backwards."""

from collections import OrderedDict, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from conduit.core.admission import LEASE_S, WINDOW_S, Admission
from conduit.core.keys import Limits
from conduit.routing.protocols import Clock

MOST_CALLERS = 100_000
"""Whoever commands as many addresses makes room for others again, and takes no more memory than this."""


@dataclass(slots=True)
class Visits:
    """Of one caller. Times are of the clock's `elapsed_s`."""

    requests: deque[float] = field(default_factory=deque)
    tokens: deque[tuple[float, int]] = field(default_factory=deque)
    spent: int = 0
    """The sum of `tokens`."""
    held: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Visit -> when it set tokens aside, and how many."""
    inside: dict[str, float] = field(default_factory=dict)
    """Visit -> when its lease ends."""

    def forget(self, before_s: float, now_s: float) -> None:
        while self.requests and self.requests[0] <= before_s:
            self.requests.popleft()
        while self.tokens and self.tokens[0][0] <= before_s:
            self.spent -= self.tokens.popleft()[1]
        if self.held:
            self.held = {visit: held for visit, held in self.held.items() if held[0] > before_s}
        if self.inside:
            self.inside = {visit: end_s for visit, end_s in self.inside.items() if end_s > now_s}

    @property
    def idle(self) -> bool:
        return not (self.requests or self.tokens or self.held or self.inside)

    @property
    def used(self) -> int:
        """Tokens that were taken or are set aside."""
        return self.spent + sum([tokens for _, tokens in self.held.values()])

    def room_at(self, tokens: int, limit: int) -> float | None:
        """When the last of those has been taken or set aside, without which `tokens` more fit; None: they do now."""
        too_many, room_at_s = self.used + tokens - limit, None
        for at_s, each in sorted([*self.tokens, *self.held.values()]):
            if too_many <= 0:
                break
            too_many, room_at_s = too_many - each, at_s
        return room_at_s


class MemoryWindow:
    """A Window. It remembers who came within the last `window_s` or is inside, and nobody else; of more than `most`
    those who came last."""

    def __init__(
        self, clock: Clock, *, window_s: float = WINDOW_S, lease_s: float = LEASE_S, most: int = MOST_CALLERS
    ) -> None:
        self._clock, self._window_s, self._lease_s, self._most = clock, window_s, lease_s, most
        self._callers: OrderedDict[str, Visits] = OrderedDict()
        """Who came last is last."""

    async def open(self) -> None:
        """Nothing to get ready."""

    async def enter(self, caller: str, visit: str, limits: Limits, tokens: int = 0) -> Admission:
        now_s = self._clock.elapsed_s()
        visits = self._visits(caller, now_s)
        refused = _refused(visits, limits, now_s - self._window_s)
        if refused is not None:
            what, most, count, wait_s = refused
            return Admission(what, most, count, wait_s, self._clock.now_s())
        visits.requests.append(now_s)
        if limits.concurrent is not None:
            visits.inside[visit] = now_s + self._lease_s
        allowed = limits.tokens_per_minute
        held = tokens if allowed is None or 2 * (visits.used + tokens) <= allowed else 0
        if held:
            visits.held[visit] = now_s, held
        wait_s = visits.requests[0] + self._window_s - now_s
        return Admission("", limits.requests_per_minute, len(visits.requests), wait_s, self._clock.now_s(), held)

    def heard(self, caller: str, requests: int) -> None:
        """Elsewhere so many requests of the caller are known to be within the window just now: here no fewer are."""
        now_s = self._clock.elapsed_s()
        visits = self._visits(caller, now_s)
        visits.requests.extend([now_s] * (requests - len(visits.requests)))

    async def hold(self, caller: str, visit: str, tokens: int, limit: int) -> Admission:
        now_s = self._clock.elapsed_s()
        visits = self._visits(caller, now_s)
        before = visits.held.pop(visit, None)
        used, room_at_s = visits.used, visits.room_at(tokens, limit)
        if room_at_s is None:
            visits.held[visit] = now_s, tokens
            return Admission("", limit, used + tokens, self._window_s, self._clock.now_s(), tokens)
        if before is not None:
            visits.held[visit] = before
        return Admission("tokens", limit, used, room_at_s + self._window_s - now_s, self._clock.now_s())

    async def lower(self, caller: str, visit: str, tokens: int) -> None:
        held = self._callers[caller].held if caller in self._callers else {}
        if visit in held:
            at_s, before = held[visit]
            held[visit] = at_s, min(before, tokens)

    async def renew(self, caller: str, visits: Collection[str]) -> None:
        end_s = self._clock.elapsed_s() + self._lease_s
        inside = self._callers[caller].inside if caller in self._callers else {}
        inside.update(dict.fromkeys(inside.keys() & visits, end_s))

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        visits = self._callers.get(caller)
        if visits is None:
            return
        visits.inside.pop(visit, None)
        visits.held.pop(visit, None)
        if tokens > 0:
            visits.tokens.append((self._clock.elapsed_s(), tokens))
            visits.spent += tokens

    async def close(self) -> None:
        """Nothing to let go of."""

    def _visits(self, caller: str, now_s: float) -> Visits:
        self._forget_two(now_s)
        visits = self._callers.get(caller)
        if visits is None:
            visits = self._callers[caller] = Visits()
        self._callers.move_to_end(caller)
        if len(self._callers) > self._most:
            self._callers.popitem(last=False)
        visits.forget(now_s - self._window_s, now_s)
        return visits

    def _forget_two(self, now_s: float) -> None:
        """Of those who came longest ago, at each visit up to two: there are never more than visits in a minute."""
        for _ in range(2):
            if not self._callers:
                return
            caller, visits = next(iter(self._callers.items()))
            if visits.requests and visits.requests[-1] > now_s - self._window_s:  # and so have all who came later
                return
            visits.forget(now_s - self._window_s, now_s)
            if visits.idle:
                del self._callers[caller]
            else:
                self._callers.move_to_end(caller)


def _refused(visits: Visits, limits: Limits, since_s: float) -> tuple[str, int, int, float] | None:
    """What is used up, its limit, its count, and seconds until there is room; the window begins at `since_s`."""
    most, count = limits.requests_per_minute, len(visits.requests)
    if most is not None and count >= most:
        return "requests", most, count, visits.requests[count - most] - since_s
    most = limits.tokens_per_minute
    if most is not None and (used := visits.used) >= most:
        first_s = min(at_s for at_s, _ in (*visits.tokens, *visits.held.values()))
        return "tokens", most, used, first_s - since_s
    most = limits.concurrent
    if most is not None and len(visits.inside) >= most:
        return "concurrent", most, len(visits.inside), 1.0
    return None
