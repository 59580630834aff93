"""Scripts and commands for Redis or Valkey, carried together, with little patience."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import Context
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Self

from hiredis import ReplyError, pack_command

from conduit.core.errors import WindowUnavailable
from conduit.gateway.request.patience import patiently
from conduit.stores.redis.line import Address, Line, Turned, Words, code

PATIENCE_S = 0.05
GIVE_UP_S = 10.0
"""For a connection, which others than those who ask wait for."""
TURNS = 30
"""Of the event loop, when patience has ended: the answer may have come while this process was busy with others."""

Question = tuple[bytes, Words, "asyncio.Future[Any]"]
"""As it goes out, what it says, and who waits for the answer."""


@dataclass(frozen=True, slots=True)
class Script:
    """Text that the server runs at once and undivided."""

    text: str
    digest: str
    """By which a server knows it that has seen it."""

    @classmethod
    def named(cls, name: str) -> Self:
        text = files("conduit.stores.redis").joinpath("lua", f"{name}.lua").read_text("ascii")
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Courier:
    """What is asked while answers are awaited goes out together, next: a burst is two.

    No task and no coroutine stands between a question and its answer: they are what a question would mostly cost.
    """

    def __init__(self, address: Address, scripts: Sequence[Script], *, patience_s: float = PATIENCE_S) -> None:
        self._address, self._patience_s = address, patience_s
        self._texts = {script.digest: script.text for script in scripts}
        self._line: Line | None = None
        self._young_until_s = 0.0
        """By the loop's clock: until then the line owes nobody an answer, though who asked first may have given up."""
        self._reaching: asyncio.Task[str] | None = None
        self._timer: asyncio.Handle | None = None
        """While something is under way, or will be at the next turn of the event loop."""
        self._asked: list[Question] = []
        self._waiting: list[Question] = []
        self._closed = False

    async def open(self) -> None:
        """Connects, where it is not, and asks whether the server is there. Raises WindowUnavailable."""
        if self._timer is None and not self._ready and not self._closed:
            self._reach()
        reaching = self._reaching
        if reaching is None:
            await self.ask("PING")
            return
        await asyncio.wait([reaching])
        if reaching.cancelled() or reaching.result():
            raise WindowUnavailable("closed" if reaching.cancelled() else reaching.result())

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> Awaitable[Any]:
        """Raises WindowUnavailable."""
        return self._soon(("EVALSHA", script.digest, len(keys), *keys, *arguments))

    def ask(self, *words: object) -> Awaitable[Any]:
        """One command. Raises WindowUnavailable."""
        return self._soon(words)

    def tell(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> None:
        """Nobody waits for what becomes of it: whoever asks next hears whether the server is there."""
        told = self._soon(("EVALSHA", script.digest, len(keys), *keys, *arguments))
        told.add_done_callback(asyncio.Future.exception)  # or the loop would complain that nobody looked

    async def close(self) -> None:
        """What was asked and told is carried first, and nothing afterwards."""
        self._closed = True
        while under_way := [answer for _, _, answer in self._asked + self._waiting if not answer.done()]:
            await asyncio.wait(under_way)
        if self._reaching is not None:
            self._reaching.cancel()
            await asyncio.wait([self._reaching])
        if self._timer is not None:
            self._timer.cancel()
        if self._line is not None:
            await self._line.close()

    @property
    def _ready(self) -> bool:
        return self._line is not None and self._line.open

    def _soon(self, words: Words) -> "asyncio.Future[Any]":
        """The answer to what goes out at the next turn of the event loop, with all that is asked until then."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if self._closed:
            _refuse(answer, "closed")
            return answer
        self._waiting.append((pack_command(words), words, answer))
        if self._timer is None:
            self._timer = loop.call_soon(self._send)
        return answer

    def _send(self) -> None:
        self._asked, self._waiting = self._waiting, []
        self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._late, TURNS)
        self._carry()

    def _carry(self) -> None:
        if self._line is not None and self._line.open:
            self._line.ask([packed for packed, _, _ in self._asked], self._heard)
        else:
            self._reach()

    def _reach(self) -> None:
        """For everybody: the line outlives the request that needs it first, and remembers nothing of it."""
        if self._reaching is None:
            self._reaching = asyncio.create_task(self._reached(), context=Context())

    async def _reached(self) -> str:
        """Or why not. Goes on when those who asked have lost their patience: who comes later finds the line."""
        try:
            self._line = await patiently(self._taught(), GIVE_UP_S)
        except Exception as error:  # noqa: BLE001  whoever asked must hear of it; a host's name may be a ValueError
            why = str(error) if isinstance(error, Turned) else type(error).__name__
            self._reaching = None
            self._fail(why)
            return why
        self._reaching = None
        self._young_until_s = asyncio.get_running_loop().time() + self._patience_s
        if self._asked:
            self._carry()
        return ""

    async def _taught(self) -> Line:
        line = await self._address.reach()
        try:
            if self._texts:  # a server that refuses to learn may run them all the same
                await line.answers([("SCRIPT", "LOAD", text) for text in self._texts.values()])
        except BaseException:
            line.drop()
            raise
        return line

    def _heard(self, answers: list[Any] | Exception) -> None:
        if isinstance(answers, Exception):
            self._fail(type(answers).__name__)
            return
        unknown = []
        for (_, words, answer), reply in zip(self._asked, answers, strict=True):
            if answer.done():
                continue  # whoever asked has given up
            if not isinstance(reply, ReplyError):
                answer.set_result(reply)
            elif (refusal := code(reply)) == "NOSCRIPT":  # a server that has forgotten; the others have run
                in_full = ("EVAL", self._texts[words[1]], *words[2:])
                unknown.append((pack_command(in_full), in_full, answer))
            else:
                _refuse(answer, refusal)
                if refusal == "READONLY" and self._line is not None:
                    self._line.drop()  # another is the primary now, perhaps by the same name
        self._asked = unknown
        if unknown:
            self._carry()
        else:
            self._next()

    def _late(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if turns:
            self._timer = loop.call_soon(self._late, turns - 1)
            return
        late, self._waiting = self._asked + self._waiting, []  # who came meanwhile would wait anew
        for _, _, answer in late:
            _refuse(answer, "TimeoutError")
        young_s = self._young_until_s - loop.time()
        if young_s > 0 and self._ready:  # most of their patience went to the connection, which has done nothing wrong
            self._timer = loop.call_later(young_s, self._late, TURNS)
            return
        if self._line is not None:
            self._line.drop()  # what was asked may still be answered there
        self._asked = []
        self._next()

    def _fail(self, why: str) -> None:
        asked, self._asked = self._asked, []
        for _, _, answer in asked:
            _refuse(answer, why)
        self._next()

    def _next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._send()


def _refuse(answer: "asyncio.Future[Any]", why: str) -> None:
    if not answer.done():
        answer.set_exception(WindowUnavailable(why))
