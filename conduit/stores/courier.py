"""Scripts and commands for Redis or Valkey, carried together, with little patience."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Self

from hiredis import ReplyError

from conduit.core.errors import WindowUnavailable
from conduit.gateway.patience import patiently
from conduit.stores.line import Address, Line, Words

PATIENCE_S = 0.05
GIVE_UP_S = 10.0
"""For a connection, which others than those who ask wait for."""
TURNS = 30
"""Of the event loop, when patience has ended: the answer may have come while this process was busy with others."""

Question = tuple[Words, "asyncio.Future[Any]"]


@dataclass(frozen=True, slots=True)
class Script:
    """Text that the server runs at once and undivided."""

    text: str
    digest: str
    """By which a server knows it that has seen it."""

    @classmethod
    def named(cls, name: str) -> Self:
        text = files("conduit.stores").joinpath("lua", f"{name}.lua").read_text("ascii")
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Courier:
    """What is asked while answers are awaited goes out together, next: a burst is two.

    No task and no coroutine stands between a question and its answer: they are what a question would mostly cost.
    """

    def __init__(self, address: Address, scripts: Sequence[Script], *, patience_s: float = PATIENCE_S) -> None:
        self._address, self._patience_s = address, patience_s
        self._texts = {script.digest: script.text for script in scripts}
        self._line: Line | None = None
        self._reaching: asyncio.Task[None] | None = None
        self._timer: asyncio.Handle | None = None
        """While something is under way, or will be at the next turn of the event loop."""
        self._asked: list[Question] = []
        self._waiting: list[Question] = []

    async def open(self) -> None:
        """Connects, and teaches the server the scripts. Raises WindowUnavailable."""
        if self._line is None or not self._line.open:
            self._reach()
        if self._reaching is not None:
            await asyncio.shield(self._reaching)
        await asyncio.gather(*(self.ask("SCRIPT", "LOAD", text) for text in self._texts.values()), self.ask("PING"))

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
        """What was asked and told is carried first."""
        while under_way := [answer for _, answer in self._asked + self._waiting]:
            await asyncio.wait(under_way)
        if self._reaching is not None:
            self._reaching.cancel()
            with suppress(asyncio.CancelledError):
                await self._reaching
        if self._line is not None:
            await self._line.close()

    def _soon(self, words: Words) -> "asyncio.Future[Any]":
        """The answer to what goes out at the next turn of the event loop, with all that is asked until then."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((words, answer))
        if self._timer is None:
            self._timer = loop.call_soon(self._send)
        return answer

    def _send(self) -> None:
        self._asked, self._waiting = self._waiting, []
        self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._late, TURNS)
        self._carry()

    def _carry(self) -> None:
        if self._line is not None and self._line.open:
            self._line.ask([words for words, _ in self._asked], self._heard)
        else:
            self._reach()

    def _reach(self) -> None:
        if self._reaching is None:
            self._reaching = asyncio.create_task(self._reached())

    async def _reached(self) -> None:
        """Goes on when those who asked have lost their patience: who comes later finds the line."""
        failed: Exception | None = None
        try:
            self._line = await patiently(self._address.reach(), GIVE_UP_S)
        except Exception as error:  # noqa: BLE001  whoever asked must hear of it; a host's name may be a ValueError
            failed = error
        self._reaching = None
        if failed is not None:
            self._fail(failed)
        elif self._asked:
            self._carry()

    def _heard(self, answers: list[Any] | Exception) -> None:
        if isinstance(answers, Exception):
            self._fail(answers)
            return
        unknown = []
        for (words, answer), reply in zip(self._asked, answers, strict=True):
            if not isinstance(reply, ReplyError):
                if not answer.done():  # else whoever asked has given up
                    answer.set_result(reply)
            elif (code := str(reply).partition(" ")[0]) == "NOSCRIPT":  # a new server; the others may have run
                unknown.append((("EVAL", self._texts[words[1]], *words[2:]), answer))
            else:
                _refuse(answer, code)
                if code == "READONLY" and self._line is not None:
                    self._line.drop()  # another is the primary now, perhaps by the same name
        self._asked = unknown
        if unknown:
            self._carry()
        else:
            self._next()

    def _late(self, turns: int) -> None:
        if turns:
            self._timer = asyncio.get_running_loop().call_soon(self._late, turns - 1)
            return
        if self._line is not None:
            self._line.drop()  # what was asked may still be answered there
        self._asked, self._waiting = self._asked + self._waiting, []  # who came meanwhile would wait anew
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        asked, self._asked = self._asked, []
        for _, answer in asked:
            _refuse(answer, type(error).__name__)
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
