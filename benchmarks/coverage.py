"""Do the intervals of `conduit evaluate` cover the truth? Where every outcome is known it can be computed.

    python -m benchmarks.coverage TABLE.jsonl.gz [--runs 200] [--requests 600] [--logging POLICY] [--policy POLICY]

Each run draws prompts, serves them with the logging policy, and evaluates the other policy from that log alone. The
truth of a run is what the other policy's own probabilities would have given on the same prompts, by the table.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from conduit.bench.off_policy import WARM_UP, Logged, evaluate
from conduit.bench.replay import Step, priced_models, replay, shuffled
from conduit.bench.tables import Row, read_table
from conduit.core.beliefs import Beliefs
from conduit.core.catalogue import Catalogue
from conduit.core.decision import Candidate
from conduit.core.features import TextFeatures
from conduit.core.query import Preferences


class Watched(Beliefs):
    """Keeps what it would have done, to be looked up in the table."""

    asked: list[list[Candidate]]

    def consider(self, *args: object, **named: object) -> list[Candidate]:
        found = super().consider(*args, **named)  # type: ignore[arg-type]
        self.asked.append(found)
        return found


def logged(steps: Iterator[Step]) -> list[Logged]:
    return [
        Logged(step.observation(), tuple(c.model for c in step.decision.candidates), step.decision.propensity, 0)
        for step in steps
    ]


def truth(rows: list[Row], seen: list[list[Candidate]]) -> tuple[float, float]:
    quality = [sum(c.probability * row.outcomes[c.model].quality for c in s) for row, s in zip(rows, seen, strict=True)]
    cost = [sum(c.probability * row.outcomes[c.model].cost_usd for c in s) for row, s in zip(rows, seen, strict=True)]
    return statistics.fmean(quality[WARM_UP:]), statistics.fmean(cost[WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--logging", default="uniform")
    parser.add_argument("--policy", default="hierarchical")
    args = parser.parse_args()
    table, features, preferences = read_table(args.table), TextFeatures(), Preferences()
    hits: dict[str, list[bool]] = {"quality": [], "quality_snips": [], "cost_usd": []}
    effective = []
    for seed in range(args.runs):
        rows = shuffled(table, seed=seed, limit=args.requests)
        log = logged(replay(rows, policy=args.logging, seed=seed))
        catalogue = Catalogue(priced_models(rows[:100]))
        beliefs = Watched(args.policy, features, catalogue)
        beliefs.asked = []
        verdict = evaluate(log, beliefs=beliefs, catalogue=catalogue, preferences=preferences, seed=seed)
        quality, cost = truth(rows, beliefs.asked)
        effective.append(verdict.effective)
        for name, value in (("quality", quality), ("quality_snips", quality), ("cost_usd", cost)):
            estimate = getattr(verdict, name)
            hits[name].append(estimate.low <= value <= estimate.high)
    for name, found in hits.items():
        print(f"{name:<14} {np.mean(found):.1%} of {len(found)} intervals at 90 % cover the truth")
    print(f"effective sample: median {statistics.median(effective):.0f} of {args.requests - WARM_UP}")


if __name__ == "__main__":
    main()
