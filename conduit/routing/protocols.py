"""What the library needs of the world: time, names, features of a text, and a pacer of spending."""

from typing import Protocol

from conduit.bandits.policy import Vector


class Clock(Protocol):
    """Time as an argument."""

    def now_s(self) -> float:
        """Unix seconds."""
        ...

    def elapsed_s(self) -> float:
        """Seconds since some fixed moment; never runs backwards."""
        ...


class Ids(Protocol):
    """Names for new things, unique over all processes and sorted by time."""

    def new(self, prefix: str) -> str: ...


class Features(Protocol):
    """Text -> context. Fixed for a version: a change of features is a new version, hence new beliefs."""

    @property
    def version(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def blocks(self) -> tuple[int, ...]:
        """Sizes of the groups of features that share a variance; they sum to `dimension`, the last is 1: constant."""

    def context(self, text: str) -> Vector:
        """(dimension,) of any text whatever, in bounded time."""
        ...

    def domain(self, x: Vector) -> str:
        """What the text of `x` is about, of a small closed set: code, math, writing, analysis, chat, other."""
        ...


class Pacing(Protocol):
    """Holds the spending of those requests that it is shown to a budget, by a price."""

    @property
    def begun(self) -> bool:
        """Whether it has been shown anything."""
        ...

    @property
    def price(self) -> float:
        """Quality per US dollar, at least 0."""
        ...

    @property
    def dearest_usd(self) -> float:
        """US dollars that one answer may be expected to cost: more could not be made up for."""
        ...

    @property
    def room_usd(self) -> float:
        """The same for want of money, until there is more."""
        ...

    def stint(self, cost_usd: float) -> None:
        """Shown in the place of a menu that was cut because of `room_usd`, with what is asked instead."""
        ...

    def observe(self, quality: Vector, cost_usd: Vector, width: Vector | float = 0.0) -> None:
        """What could be had at one request, and for how much: see bandits/pacing.py."""
        ...
