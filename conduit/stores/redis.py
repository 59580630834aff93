"""What replicas share in Redis or Valkey: one pool, little patience, and no text of a caller's in it."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Self

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from conduit.core.admission import LEASE_S, WINDOW_S, Admission
from conduit.core.errors import CacheUnavailable, ConfigurationError, WindowUnavailable
from conduit.core.keys import Limits
from conduit.gateway.patience import patiently

PATIENCE_S = 0.05
GIVE_UP_S = 10.0
TURNS = 30
"""Of the event loop, when patience has ended: the answer may have come while this process was busy with others."""
CONNECTIONS = 4


def connect(url: str) -> Redis:
    """Nothing is sent yet. How long an answer is awaited is up to who asks: see Exchange.

    Raises ConfigurationError.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=GIVE_UP_S,
            socket_timeout=None,  # an Exchange has its own patience, and a second watch costs a task for each question
            socket_connect_timeout=GIVE_UP_S,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        raise ConfigurationError("REDIS_URL: must be of the form redis://host:6379/0 or rediss://...") from None
    return Redis.from_pool(pool)


@dataclass(frozen=True, slots=True)
class Script:
    """Text that the server runs at once and undivided."""

    text: str

    @classmethod
    def named(cls, name: str) -> Self:
        return cls(files("conduit.stores").joinpath("lua", name).read_text("ascii"))

    @property
    def digest(self) -> str:
        """By which the server knows it."""
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ENTER, HOLD, RENEW, LEAVE = (Script.named(f"{name}.lua") for name in ("enter", "hold", "renew", "leave"))


class Exchange:
    """Runs scripts and commands. What is asked while an answer is awaited goes out together, next: a burst is two.

    It has one connection of the pool for as long as it lives: to borrow it anew costs more than to ask.
    """

    def __init__(self, redis: Redis, *, patience_s: float = PATIENCE_S) -> None:
        self._redis, self._patience_s = redis, patience_s
        self._digests = {script: script.digest for script in (ENTER, HOLD, RENEW, LEAVE)}
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._running: asyncio.Task[None] | None = None
        self._connection: Any = None

    async def open(self) -> None:
        """Connects, and teaches the server the scripts. Raises WindowUnavailable."""
        try:
            await patiently(self._teach(), GIVE_UP_S)
        except (RedisError, OSError) as error:
            raise WindowUnavailable(type(error).__name__) from None

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        """Raises WindowUnavailable."""
        return await self.ask("EVALSHA", self._digests[script], len(keys), *keys, *arguments)

    async def ask(self, *words: object) -> Any:
        """One command. Raises WindowUnavailable."""
        return await self._soon(words)

    def tell(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> None:
        """Nobody waits for what becomes of it: whoever asks next hears whether the server is there."""
        told = self._soon(("EVALSHA", self._digests[script], len(keys), *keys, *arguments))
        told.add_done_callback(asyncio.Future.exception)  # or the loop would complain that nobody looked

    def _soon(self, words: tuple[Any, ...]) -> asyncio.Future[Any]:
        """The answer to what goes out at the next turn of the event loop, with all that is asked until then."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((words, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                await self._ask(asked)
        finally:
            self._running = None

    async def _ask(self, asked: list[tuple[tuple[Any, ...], asyncio.Future[Any]]]) -> None:
        try:
            replies = await patiently(self._replies([question for question, _ in asked]), self._patience_s, turns=TURNS)
        except Exception as error:  # noqa: BLE001  whoever asked must hear of it; uvloop's closed sockets raise RuntimeError
            if isinstance(error, TimeoutError):
                asked, self._waiting = asked + self._waiting, []  # who came meanwhile would wait anew
            replies = [error] * len(asked)
            with suppress(Exception):
                await self._redis.connection_pool.disconnect()  # what was asked may still be answered there
        for (_, answer), reply in zip(asked, replies, strict=True):
            if answer.done():
                continue  # whoever asked has given up
            if isinstance(reply, Exception):
                answer.set_exception(WindowUnavailable(type(reply).__name__))
            else:
                answer.set_result(reply)

    async def _replies(self, questions: list[tuple[Any, ...]]) -> list[Any]:
        replies = await self._once(questions)
        unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:  # a new server, which others may be teaching just now: some may have run
            await self._teach()
            again = await self._once([questions[n] for n in unknown])
            for n, reply in zip(unknown, again, strict=True):
                replies[n] = reply
        return replies

    async def _teach(self) -> None:
        await self._once([("SCRIPT", "LOAD", script.text) for script in self._digests])

    async def _once(self, questions: list[tuple[Any, ...]]) -> list[Any]:
        connection = await self._connected()
        await connection.send_packed_command(b"".join(map(pack_command, questions)), check_health=False)
        return [await _reply(connection) for _ in questions]

    async def _connected(self) -> Any:
        """Whose other end has not hung up, and owes no answer."""
        pool: Any = self._redis.connection_pool  # half of it is untyped
        connection = self._connection
        if connection is None:
            connection = self._connection = await pool.get_connection()
            return connection
        if connection.is_connected:
            if not connection.should_reconnect() and not await connection.can_read():
                return connection
            await connection.disconnect()  # the server moves, or hung up: what is asked now, it would not answer
        await pool.ensure_connection(connection)
        return connection

    async def close(self) -> None:
        if self._running is not None:
            await self._running
        if self._connection is not None:
            await self._redis.connection_pool.release(self._connection)
            self._connection = None
        await self._redis.aclose()


async def _reply(connection: Any) -> Any:
    """A refusal is an answer too; what follows it is still to be read."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


class RedisWindow:
    """A Window over all processes that use one server. Each question is one atomic script, by the server's clock."""

    def __init__(
        self, redis: Redis, *, patience_s: float = PATIENCE_S, window_s: float = WINDOW_S, lease_s: float = LEASE_S
    ) -> None:
        self._exchange = Exchange(redis, patience_s=patience_s)
        self._window_ms, self._lease_ms = int(window_s * 1e3), int(lease_s * 1e3)
        self._held: dict[str, tuple[int, int]] = {}
        """Visit -> the server's second in which it set tokens aside, and how many; the oldest first."""

    async def open(self) -> None:
        await self._exchange.open()

    async def enter(self, caller: str, visit: str, limits: Limits, tokens: int = 0) -> Admission:
        bounds = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent)
        words = [visit, self._window_ms, self._lease_ms, *(-1 if bound is None else bound for bound in bounds), tokens]
        return self._remember(visit, await self._exchange.run(ENTER, _keys(caller), words))

    async def hold(self, caller: str, visit: str, tokens: int, limit: int) -> Admission:
        words = [self._window_ms, limit, tokens, *self._held.get(visit, (0, 0))]
        return self._remember(visit, await self._exchange.run(HOLD, _keys(caller)[1:2], words))

    async def lower(self, caller: str, visit: str, tokens: int) -> None:
        at_s, held = self._held.get(visit, (0, 0))
        if tokens < held:
            self._held[visit] = at_s, tokens
            self._exchange.tell(LEAVE, _keys(caller)[1:], ["", self._window_ms, 0, at_s, held - tokens])

    def _remember(self, visit: str, answer: Sequence[Any]) -> Admission:
        """What the visit has set aside now."""
        admission = _admission(answer)
        if admission.held:
            self._forget(admission.now_s)
            self._held.pop(visit, None)
            self._held[visit] = int(admission.now_s), admission.held
        return admission

    def _forget(self, now_s: float) -> None:
        """Those who left while the server did not answer."""
        for visit, (at_s, _) in list(self._held.items()):
            if at_s > now_s - self._window_ms / 1e3:
                return
            del self._held[visit]

    async def renew(self, caller: str, visits: Collection[str]) -> None:
        await self._exchange.run(RENEW, _keys(caller)[2:], [self._lease_ms, *visits])

    async def leave(self, caller: str, visit: str, tokens: int) -> None:
        held = self._held.pop(visit, (0, 0))
        self._exchange.tell(LEAVE, _keys(caller)[1:], [visit, self._window_ms, tokens, *held])

    async def close(self) -> None:
        await self._exchange.close()


def _admission(answer: Sequence[Any]) -> Admission:
    refused, limit, current, wait_ms, now_ms, held = answer
    return Admission(refused.decode(), None if limit < 0 else limit, current, wait_ms / 1e3, now_ms / 1e3, held)


def _keys(caller: str) -> list[str]:
    """In one slot of a cluster, by the braces."""
    return [f"conduit:{{{caller}}}:{what}" for what in ("requests", "tokens", "inside")]


class RedisCache:
    """A Cache over all processes that use one server; what does not fit there, its own policy lets go."""

    def __init__(self, redis: Redis, *, patience_s: float = PATIENCE_S) -> None:
        self._exchange = Exchange(redis, patience_s=patience_s)

    async def get(self, name: str) -> bytes | None:
        value = await self._ask("GET", _cached(name))
        return None if value is None else bytes(value)

    async def put(self, name: str, value: bytes, *, ttl_s: float) -> None:
        await self._ask("SET", _cached(name), value, "PX", max(int(ttl_s * 1e3), 1))

    async def close(self) -> None:
        await self._exchange.close()

    async def _ask(self, *words: object) -> Any:
        try:
            return await self._exchange.ask(*words)
        except WindowUnavailable as error:
            raise CacheUnavailable(str(error)) from None


def _cached(name: str) -> str:
    return f"conduit:cache:{name}"
