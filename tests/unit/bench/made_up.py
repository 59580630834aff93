"""A routing table of nobody's: three models, of which the dear one is needed for some prompts only."""

import gzip
import json
import random
from itertools import islice
from pathlib import Path

from conduit.bench.prompts import prompts
from conduit.bench.tables import Recorded, Row

PRICES = {"small": 1e-4, "wordy": 5e-4, "large": 2e-3}
HARD = ("Prove", "Derive", "Implement", "Analyse", "Evaluate", "Fix")


def made_up_rows(count: int, seed: int = 0) -> list[Row]:
    """The small model fails at what is hard; the wordy one is dearer than it is good."""
    chance = random.Random(seed)
    rows = []
    for number, prompt in enumerate(islice(prompts(seed), count)):
        hard = prompt.startswith(HARD)
        good = {"small": 0.3 if hard else 0.85, "wordy": 0.5, "large": 0.9}
        outcomes = {
            model: Recorded(
                quality=float(chance.random() < good[model]), cost_usd=price * chance.lognormvariate(0.0, 0.4)
            )
            for model, price in PRICES.items()
        }
        rows.append(Row(f"made-up-{number}", prompt, outcomes))
    return rows


def write_table(path: Path, rows: list[Row]) -> Path:
    """In the form of ../shared/data."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for row in rows:
            outcomes = {m: {"quality": o.quality, "cost_usd": o.cost_usd} for m, o in row.outcomes.items()}
            file.write(json.dumps({"id": row.id, "task": "t", "prompt": row.prompt, "outcomes": outcomes}) + "\n")
    return path
