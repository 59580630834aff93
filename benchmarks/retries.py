"""How many retries the detector finds, and how many strangers it takes for one, on the prompts of the routing tables.

    CONDUIT_ROUTING_TABLES=../shared/data python -m benchmarks.retries [--pairs 2000]

A retry is a prompt and one of: itself, a word left out, "Please" before it, a wish behind it. Strangers are two prompts
of a table; kin are two of one task, which is what a session on one subject looks like.
"""

import argparse
import gzip
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from conduit.gateway.learning.retries import ALIKE, alike
from conduit.routing.features import TextFeatures

FEATURES = TextFeatures()
Pair = tuple[str, str]


def again(prompt: str, chance: random.Random) -> str:
    words = prompt.split(" ")
    left_out = chance.randrange(len(words))
    ways = (
        prompt,
        " ".join(words[:left_out] + words[left_out + 1 :]),
        "Please " + prompt[:1].lower() + prompt[1:],
        prompt + " Be more precise.",
    )
    return chance.choice(ways)


def share(pairs: Iterable[Pair]) -> float:
    """Of the pairs, those that are taken for a retry."""
    found = [alike(FEATURES.context(one), FEATURES.context(other)) >= ALIKE for one, other in pairs]
    return sum(found) / len(found)


def measure(table: Path, count: int) -> str:
    chance, by_task = random.Random(1), defaultdict[str, list[str]](list)
    with gzip.open(table, "rt") as lines:
        for row in map(json.loads, lines):
            by_task[row["task"]].append(row["prompt"])
    tasks = [prompts for prompts in by_task.values() if len(prompts) > 1]
    prompts = [prompt for of_task in by_task.values() for prompt in of_task]
    retries = share((prompt, again(prompt, chance)) for prompt in chance.choices(prompts, k=count))
    strangers = share(tuple(chance.sample(prompts, 2)) for _ in range(count))  # type: ignore[misc]
    kin = share(tuple(chance.sample(chance.choice(tasks), 2)) for _ in range(count))  # type: ignore[misc]
    return f"{table.name.split('.')[0]:<12} {retries:8.3f} {strangers:10.4f} {kin:8.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    arguments = parser.parse_args()
    folder = Path(os.environ.get("CONDUIT_ROUTING_TABLES", "../shared/data"))
    tables = sorted(folder.glob("*.jsonl.gz"))
    if not tables:
        raise SystemExit(f"no routing tables in {folder}: set CONDUIT_ROUTING_TABLES")
    print(f"share of pairs taken for a retry, {arguments.pairs} of each kind")
    print(f"{'table':<12} {'retries':>8} {'strangers':>10} {'kin':>8}")
    for table in tables:
        print(measure(table, arguments.pairs))


if __name__ == "__main__":
    main()
