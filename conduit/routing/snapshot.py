"""Beliefs as bytes, and back: a cache of the fold up to a position of the ledger. Whatever does not fit is refused."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from conduit.bandits.policy import State, Vector

VERSION = 2
"""Of the form of `body` and of what the sums mean."""
READABLE = frozenset({1, VERSION})
"""Another one is passed over. The first remembers fewer observations of each model, and is otherwise the same: what was
pruned is in no other place."""
NUMBERS = "<f8"
LENGTH_BYTES = 8

Refusal = Literal["corrupt", "version", "policy", "features", "half-life", "future"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sums of one recipe add up; those of another say something else."""

    policy: str
    features: str
    half_life_s: float

    @property
    def parts(self) -> tuple[str, str, float]:
        return self.policy, self.features, self.half_life_s

    def differs(self, other: "Recipe") -> Literal["policy", "features", "half-life"]:
        """In what first, from one that is not equal."""
        if self.policy != other.policy:
            return "policy"
        return "features" if self.features != other.features else "half-life"


class Unfit(ValueError):
    """Beliefs cannot be formed from this snapshot."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why)
        self.why: Refusal = why


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All sums after the observation at `position`."""

    position: int
    time_s: float
    version: int
    recipe: Recipe
    body: bytes
    checksum: bytes


def taken(state: Mapping[str, State], recipe: Recipe, *, position: int, time_s: float) -> Snapshot:
    """Takes milliseconds."""
    body = packed(state)
    return Snapshot(position, time_s, VERSION, recipe, body, _checksum(position, VERSION, recipe, body))


def opened(snapshot: Snapshot, recipe: Recipe) -> Mapping[str, State]:
    """The sums in it. Raises Unfit when they are damaged, or not of this recipe."""
    if _checksum(snapshot.position, snapshot.version, snapshot.recipe, snapshot.body) != snapshot.checksum:
        raise Unfit("corrupt")
    if snapshot.version not in READABLE:
        raise Unfit("version")
    if snapshot.recipe != recipe:
        raise Unfit(snapshot.recipe.differs(recipe))
    try:
        return unpacked(snapshot.body)
    except (ValueError, TypeError) as error:
        raise Unfit("corrupt") from error


def packed(state: Mapping[str, State]) -> bytes:
    """Length of the index, index, numbers."""
    names = [(signal, name) for signal, arms in state.items() for name in arms]
    vectors = [np.asarray(state[signal][name], dtype=np.float64) for signal, name in names]
    index = json.dumps([[*where, vector.size] for where, vector in zip(names, vectors, strict=True)]).encode()
    numbers = [vector.astype(NUMBERS).tobytes() for vector in vectors]
    return b"".join([len(index).to_bytes(LENGTH_BYTES, "little"), index, *numbers])


def unpacked(body: bytes) -> Mapping[str, State]:
    """The inverse of `packed`. ValueError when it cannot have come from there."""
    start = LENGTH_BYTES + int.from_bytes(body[:LENGTH_BYTES], "little")
    index: list[tuple[str, str, int]] = [_entry(*each) for each in json.loads(body[LENGTH_BYTES:start])]
    numbers: Vector = np.frombuffer(body[start:], dtype=NUMBERS).astype(np.float64)
    if len(numbers) != sum(size for *_, size in index):
        raise ValueError("the numbers are not those of the index")
    state: dict[str, dict[str, Vector]] = {}
    place = 0
    for signal, name, size in index:
        state.setdefault(signal, {})[name] = numbers[place : place + size]
        place += size
    return state


def _entry(signal: Any, name: Any, size: Any) -> tuple[str, str, int]:
    if not (isinstance(signal, str) and isinstance(name, str) and isinstance(size, int) and size >= 0):
        raise ValueError("not an index")
    return signal, name, size


def _checksum(position: int, version: int, recipe: Recipe, body: bytes) -> bytes:
    digest = hashlib.blake2b(repr((position, version, *recipe.parts)).encode(), digest_size=32)
    digest.update(body)
    return digest.digest()
