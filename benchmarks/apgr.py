"""RouteLLM's protocol from bandit feedback: how much of the gap between two models is recovered.

    python -m benchmarks.apgr [--seeds 10]

APGR (Ong et al. 2024): prompts are ranked by how much better the strong model is expected to be; with the first c of
them sent to it, the performance gap recovered is (quality - weak) / (strong - weak); its mean over c from 0 to 1. A
coin has .5. MMLU of the table `routellm` is shuffled by seed; the last 4000 prompts are ranked, the first N teach: for
each of these one model, drawn evenly, and its outcome alone. "full labels": both models' outcomes of the same prompts,
by ridge regression of their difference on the same features, its penalty chosen on the prompts that are ranked, in its
favour. "subject": the mean difference of each of the 57 subjects, which no router is told, in all of MMLU.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bench.replay import priced_models, shuffled
from conduit.bench.tables import Row, read_table
from conduit.routing.beliefs import Beliefs
from conduit.routing.catalogue import Catalogue
from conduit.routing.choice import weigh
from conduit.routing.decision import Observation
from conduit.routing.features import TextFeatures
from conduit.routing.query import Preferences

RANKED = 4000
SIZES = (500, 2000, 10_000)
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def apgr(score: Vector, weak: Vector, strong: Vector) -> float:
    """The largest score goes to the strong model first; of (n,) each."""
    gained = (strong - weak)[np.argsort(-score, kind="stable")]
    return float(np.concatenate([[0.0], gained.cumsum()]).mean() / gained.sum())


def from_bandit(rows: list[Row], contexts: Vector, n: int, seed: int) -> Vector:
    """(RANKED,) expected difference after `n` uniform feedbacks."""
    features, models = TextFeatures(), priced_models(rows[:100])
    beliefs = Beliefs("hierarchical", features, Catalogue(models))
    weak, strong = sorted(models, key=lambda model: model.rates[1])
    drawn = np.random.default_rng(seed).integers(2, size=n)
    for i in range(n):
        model = (weak, strong)[drawn[i]]
        quality = rows[i].outcomes[model.name].quality
        beliefs.fold(Observation(str(i), model.name, contexts[i], features.version, 0.0, quality=quality))
    beliefs.refresh()

    def difference(x: Vector) -> float:
        expected = beliefs.expect(x, [weak, strong], input_tokens=0, most=None)
        low, high = weigh(x, expected, Preferences(), beliefs)
        return high.quality - low.quality

    return np.array([difference(x) for x in contexts[-RANKED:]])


def from_labels(contexts: Vector, difference: Vector, n: int, penalty: float) -> Vector:
    x, y = contexts[:n], difference[:n]
    centre = x.mean(axis=0)
    gram = (x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1])
    return np.asarray((contexts[-RANKED:] - centre) @ np.linalg.solve(gram, (x - centre).T @ (y - y.mean())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    folder = Path(os.environ.get("CONDUIT_ROUTING_TABLES", "../shared/data"))
    table = [row for row in read_table(folder / "routellm.jsonl.gz") if row.id.startswith("mmlu/")]
    weak, strong = sorted(table[0].outcomes, key=lambda m: sum(row.outcomes[m].cost_usd for row in table))
    features = TextFeatures()
    known = {row.id: features.context(row.prompt).astype(np.float32).astype(np.float64) for row in table}
    subjects: dict[str, list[float]] = {}
    for row in table:
        subjects.setdefault(row.id.split("/")[1], []).append(_gap(row, weak, strong))
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        rows = shuffled(table, seed=seed)
        contexts = np.array([known[row.id] for row in rows])
        difference = np.array([_gap(row, weak, strong) for row in rows])
        low, high = (np.array([row.outcomes[m].quality for row in rows[-RANKED:]]) for m in (weak, strong))
        for n in SIZES:
            found.setdefault(f"{n} feedbacks", []).append(apgr(from_bandit(rows, contexts, n, seed), low, high))
            ridge = (apgr(from_labels(contexts, difference, n, p), low, high) for p in PENALTIES)
            found.setdefault(f"{n} full labels", []).append(max(ridge))
        told = np.array([np.mean(subjects[row.id.split("/")[1]]) for row in rows[-RANKED:]])
        found.setdefault("subject", []).append(apgr(told, low, high))
    print(f"{weak} and {strong}: {len(table)} prompts of MMLU, {RANKED} of them ranked; {seeds} seeds")
    for name, values in found.items():
        error = np.std(values, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan
        print(f"{name:<20} {np.mean(values):.3f} ± {error:.3f}")


def _gap(row: Row, weak: str, strong: str) -> float:
    return row.outcomes[strong].quality - row.outcomes[weak].quality


if __name__ == "__main__":
    main()
