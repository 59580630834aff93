"""The sandbox's embeddings: texts that share words point the same way."""

import math
import re
from hashlib import blake2b


def unit_vector(text: str, *, dimensions: int, seed: int) -> list[float]:
    """Each word adds one to, or takes one from, a coordinate that its hash names."""
    sums = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [""]:
        number = int.from_bytes(blake2b(f"{seed}\x1f{word}".encode(errors="replace"), digest_size=8).digest())
        sums[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = math.sqrt(sum(value * value for value in sums))
    if length == 0.0:  # the words cancelled out
        return [1.0] + [0.0] * (dimensions - 1)
    return [value / length for value in sums]
