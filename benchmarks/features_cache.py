"""What the cache of features saves: a text that is looked at, one that is at hand, and what its key costs alone.

    python -m benchmarks.features_cache [--texts 4096] [--runs 7]

Prompts are made of words drawn from a small dictionary; of each length as many as the cache holds. Times are medians
over runs, of one thread, per text; bytes are what the process's own allocations grew by.
"""

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from hashlib import blake2b
from statistics import median

from conduit.routing.features import TextFeatures, clipped
from conduit.routing.features_cache import KEY_BYTES, CachedFeatures

WORDS = tuple("write explain the a of for with python how many why table story energy court price list".split())  # noqa: SIM905
LENGTHS = (200, 800, 2000, 8000)
"""Characters; 800 are about 200 tokens."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    print(f"us a text, medians of {given.runs} runs over {given.texts} texts")
    print(f"{'characters':>10}{'looked at':>12}{'miss':>8}{'hit':>8}{'key alone':>12}{'bytes kept':>12}")
    for length in LENGTHS:
        texts = _texts(given.texts, length)
        plain = _us(TextFeatures().context, texts, given.runs)
        miss = median(_us(_empty(given.texts), texts, 1) for _ in range(given.runs))
        full = _empty(given.texts)
        hit = _us(full, texts, given.runs + 1)
        print(f"{length:>10}{plain:>12.1f}{miss:>8.1f}{hit:>8.2f}{_us(_key, texts, given.runs):>12.2f}", end="")
        print(f"{_bytes(texts):>12.0f}")


def _texts(count: int, length: int) -> list[str]:
    draw = random.Random(1)
    return [f"{n} {' '.join(draw.choices(WORDS, k=length // 4))}"[:length] for n in range(count)]


def _empty(most: int) -> Callable[[str], object]:
    return CachedFeatures(TextFeatures(), most=most).context


def _key(text: str) -> object:
    return blake2b(clipped(text).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def _us(work: Callable[[str], object], texts: Sequence[str], runs: int) -> float:
    """Of the runs' median."""
    took: list[float] = []
    for _ in range(runs):
        began_s = time.perf_counter()
        for text in texts:
            work(text)
        took.append((time.perf_counter() - began_s) / len(texts) * 1e6)
    return median(took)


def _bytes(texts: Sequence[str]) -> float:
    """Of an entry."""
    tracemalloc.start()
    look = _empty(len(texts))
    before, _ = tracemalloc.get_traced_memory()
    for text in texts:
        look(text)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(texts)


if __name__ == "__main__":
    main()
