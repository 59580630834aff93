"""A bag of words and word pairs, projected onto random signs: no weights, no vocabulary, no fitting.

Each n-gram is hashed to 64 bits, of which SIGNS, as +1 and -1, are its row of a random projection (Achlioptas 2003);
the text is the weighted sum of its n-grams' rows, at length 1. Inner products between texts are kept up to
1/sqrt(SIGNS), and no two n-grams share a bucket. Hashes are polynomial, hence the same in every process and on every
machine.
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Vector = NDArray[np.float64]

SIGNS = 32
PAIR_WEIGHT = 0.6
MAX_BYTES = 1 << 15
BASE = 0x9E3779B97F4A7C15
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def powers(base: int) -> Hashes:
    """(MAX_BYTES + 1,) base^i modulo 2^64."""
    table = np.full(MAX_BYTES + 1, base, dtype=np.uint64)
    table[0] = 1
    return np.cumprod(table)


POWERS, INVERSES = powers(BASE), powers(pow(BASE, -1, 1 << 64))
IN_WORD = np.array([chr(i).isalnum() or i >= 128 for i in range(256)]) & (np.arange(256) != 0xD7)


def signature(lowered: Bytes) -> Vector:
    """(SIGNS,) of length 1; zero for a text without words."""
    words, letters = word_hashes(lowered[:MAX_BYTES])
    if not len(words):
        return np.zeros(SIGNS)
    pairs = mixed(words[:-1] * np.uint64(BASE) + words[1:])
    rarity = np.minimum(letters, 8) / 8.0  # long words are rarer: a weight for want of document frequencies
    weight = np.concatenate([rarity, PAIR_WEIGHT * (rarity[:-1] + rarity[1:]) / 2])
    z = weight @ signs(np.concatenate([words, pairs]))
    return np.asarray(z / max(float(np.sqrt(z @ z)), 1e-9))


def word_hashes(lowered: Bytes) -> tuple[Hashes, NDArray[np.int64]]:
    """(n,) hash of each word in order, and (n,) its length: differences of one running polynomial hash."""
    inside = np.concatenate([[False], IN_WORD[lowered], [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    running = np.zeros(len(lowered) + 1, dtype=np.uint64)
    np.cumsum((lowered + np.uint64(1)) * POWERS[: len(lowered)], out=running[1:])
    return mixed((running[ends] - running[starts]) * INVERSES[starts]), ends - starts


def mixed(hashes: Hashes) -> Hashes:
    """Steele et al. 2014's finaliser: every bit of the answer depends on every bit of the argument."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * MIX_1
    hashes = (hashes ^ (hashes >> np.uint64(27))) * MIX_2
    return hashes ^ (hashes >> np.uint64(31))


def signs(hashes: Hashes) -> Vector:
    """(n, SIGNS) the low bits of each hash as -1.0 and 1.0."""
    bits = np.unpackbits(hashes.astype("<u8").view(np.uint8).reshape(-1, 8)[:, : SIGNS // 8], axis=1)
    return np.asarray(bits * 2.0 - 1.0, dtype=np.float64)
