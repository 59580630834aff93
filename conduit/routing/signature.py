"""A bag of words, projected onto random signs: no weights, no vocabulary, no fitting.

Each word is hashed to 32 bits, which, as +1 and -1, are its row of a random projection (Achlioptas 2003); the text is
the weighted sum of its words' rows, at length 1. Inner products between texts are kept up to 1/sqrt(SIGNS), and no two
words share a bucket. The hashes are the same in every process and on every machine.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

SIGNS = 32
MOST_WORDS = 2000
MIX = np.uint64(0x9E3779B97F4A7C15)


def signature(words: Sequence[bytes]) -> Vector:
    """(SIGNS,) of length 1; zero for a text without words."""
    words = words[:MOST_WORDS]
    if not words:
        return np.zeros(SIGNS)
    rarity = np.array([min(len(word), 8) for word in words], dtype=np.float32)  # long words are rarer
    z = (2.0 * (rarity @ bits(words)) - rarity.sum()).astype(np.float64)
    return np.asarray(z / max(float(np.sqrt(z @ z)), 1e-9))


def bits(words: Sequence[bytes]) -> NDArray[np.float32]:
    """(n, SIGNS) the bits of each word's hash. A CRC is linear in its bits; the product (Knuth 1973, 6.4) is not."""
    hashes = np.array([crc32(word) for word in words], dtype=np.uint64) * MIX >> np.uint64(32)
    return np.unpackbits(hashes.astype("<u4").view(np.uint8)).reshape(-1, SIGNS).astype(np.float32)
