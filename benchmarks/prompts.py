"""What it costs on the hot path to remember a prompt: by mode, by length; and what redacting costs beside it.

    python -m benchmarks.prompts [--runs 9]

Microseconds a prompt, medians over runs of 2000, of one thread. `redacted` is what a thread of the ledger's writer does
to a text that is kept, and nothing that a request waits for.
"""

import argparse
import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from conduit.observability.logging.redaction import Redactor
from conduit.routing.prompts import KEY_BYTES, Prompts, PromptText

LENGTHS = (200, 2000, 8000, 100_000)
AT_ONCE = 2000
MODES: tuple[PromptText, ...] = ("off", "hashed", "full")
WORDS = ("write", "explain", "table", "energy", "a", "of", "which", "price", "court", "list")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs: int = parser.parse_args().runs
    print(f"{'characters':>10}" + "".join(f"{mode:>9}" for mode in MODES) + f"{'redacted':>11}")
    for length in LENGTHS:
        draw = random.Random(length)
        text = " ".join(draw.choices(WORDS, k=length // 2))[:length]
        took = [_us(remembering(mode), text, runs, AT_ONCE) for mode in MODES]
        redacted = _us(partial(Redactor().ends, most=20_000), text, runs, 20)
        print(f"{length:>10}" + "".join(f"{each:>9.2f}" for each in took) + f"{redacted:>11.0f}")


def remembering(mode: PromptText) -> Prompts:
    prompts = Prompts(mode)
    prompts.hash_under(bytes(KEY_BYTES))
    return prompts


def _us(work: Callable[[str], object], text: str, runs: int, times: int) -> float:
    took: list[float] = []
    for _ in range(runs):
        began_s = time.perf_counter()
        for _ in range(times):
            work(text)
        took.append((time.perf_counter() - began_s) / times * 1e6)
    return median(took)


if __name__ == "__main__":
    main()
