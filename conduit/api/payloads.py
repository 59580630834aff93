"""Copies what goes in and out, where that was asked for; it holds nothing back and changes nothing."""

from random import Random

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.paths import routed_path
from conduit.core.request_state import state_of
from conduit.observability.logging.access_log import fields_of
from conduit.observability.logging.payloads import Payload, PayloadLog
from conduit.routing.protocols import Clock

ASKING = frozenset({"/v1/chat/completions", "/v1/complete"})
MOST_BYTES = 1 << 20
"""Of either side; of a longer one only its length is told, because half a JSON cannot be read."""
ABOUT = ("decision", "model", "cost_usd", "code")


class PayloadTap:
    """Innermost: sees verified callers only. `share` of the requests, of the keys in `keys` (ids or names) if there are
    any."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        share: float,
        keys: frozenset[str],
        random: Random,
        log: PayloadLog,
        clock: Clock,
    ) -> None:
        self._app, self._share, self._keys, self._random = app, share, keys, random
        self._log, self._clock = log, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._wanted(scope):
            await self._app(scope, receive, send)
            return
        request, answer, status = _Copy(), _Copy(), 0

        async def heard() -> Message:
            message = await receive()
            request.add(message.get("body", b""))
            return message

        async def said(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.add(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, heard, said)
        finally:
            self._log.put(Payload(self._about(scope, status), request.content, answer.content))

    def _wanted(self, scope: Scope) -> bool:
        if scope["type"] != "http" or routed_path(scope) not in ASKING or self._random.random() >= self._share:
            return False
        key = state_of(scope).key
        return not self._keys or (key is not None and not self._keys.isdisjoint({key.id, key.name}))

    def _about(self, scope: Scope, status: int) -> dict[str, object]:
        state = state_of(scope)
        fields = fields_of(state)
        about = {
            "time_s": self._clock.now_s(),
            "request_id": state.id,
            "path": scope["path"],
            "status": status,
            "key": state.key.id if state.key else None,
        }
        return about | {name: fields[name] for name in ABOUT if name in fields}


class _Copy:
    """Up to MOST_BYTES; beyond them as many blanks as there were bytes would be no better than their number."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MOST_BYTES:
            self._pieces.append(piece)

    @property
    def content(self) -> bytes:
        whole = self._size <= MOST_BYTES
        return b"".join(self._pieces) if whole else b"%d bytes are more than are kept" % self._size
