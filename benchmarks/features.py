"""Which features are worth their microseconds: capture that uniform bandit feedback leads to, against time for a text.

    python -m benchmarks.features TABLE.jsonl.gz [...] [--seeds 4] [--minilm FOLDER] [--only NAME]
                                  [--teach 1000] [--judge 700]

Of each shuffle the first prompts (`--teach`) teach, each by the outcome of one model drawn evenly; on the last ones
(`--judge`) the model with the best expected quality less price times expected cost is taken, at the price at which they
cost what each of six budgets allows. Exploration and pacing are left out, so that what differs is the features, or how
much was taught. Beside the hashed words that Conduit uses stand as many numbers of hashed n-grams: 3 to 5 characters,
and one and two words. `wordllama` takes part where it is installed (its 256 numbers cut to 64), MiniLM where FOLDER
holds all-MiniLM-L6-v2 as model.safetensors and tokenizer.json (`safetensors` and `tokenizers` installed; 384 numbers,
projected to 64).
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.minilm import MiniLM
from conduit.bandits.policy import Vector
from conduit.bench.frontier import Frontier, frontier
from conduit.bench.replay import FOR_PRICES, QUALITY_ONLY, Step, priced_models, shuffled
from conduit.bench.tables import Row, read_table
from conduit.routing.features import WORDS_ONLY, TextFeatures, clipped
from conduit.routing.query import Query
from conduit.routing.router import Router
from conduit.routing.signature import bits
from conduit.routing.system import CountingIds, StillClock
from conduit.routing.threads import one_thread

BUDGETS = 6
SIGNS = TextFeatures.blocks[0]
TOKENS_200 = 800
"""Characters of a text of 200 tokens."""


class Mapped:
    """Features made by a function of the text, in blocks; each text is mapped once."""

    def __init__(self, version: str, blocks: Sequence[int], mapped: Callable[[str], Vector]) -> None:
        self.version, self.blocks = version, (*blocks, 1)
        self.dimension = sum(self.blocks)
        self.mapped = mapped
        self._known: dict[str, Vector] = {}

    def context(self, text: str) -> Vector:
        """(d,) with the 1 at the end."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = np.append(self.mapped(text), 1.0)
        return found

    def domain(self, x: Vector) -> str:
        """None is told apart here."""
        return "other" if len(x) else ""


def candidates(minilm: Path | None) -> list[Mapped]:
    """All that can be had here."""
    ours, size = TextFeatures().context, TextFeatures.blocks[1]
    found = [
        Mapped("nothing", (), lambda _: np.zeros(0)),
        Mapped("lexical", (size,), lambda text: ours(text)[SIGNS:-1]),
        Mapped("hashed", (SIGNS,), lambda text: ours(text)[:SIGNS]),
        Mapped("hashed, lexical", (SIGNS, size), lambda text: ours(text)[:-1]),
    ]
    others: dict[str, tuple[int, Callable[[str], Vector]]] = {
        "char 3-5": (SIGNS, lambda text: hashed(character_grams(text))),
        "words 1-2": (SIGNS, lambda text: hashed(word_grams(text))),
    }
    word_llama = _word_llama()
    if word_llama is not None:
        others["WordLlama"] = 64, word_llama
    if minilm is not None:
        others["MiniLM"] = 64, MiniLM(minilm)
    for name, (numbers, embed) in others.items():
        found.append(Mapped(name, (numbers,), embed))
        found.append(Mapped(f"{name}, lexical", (numbers, size), _beside(embed, ours)))
    return found


def _beside(embed: Callable[[str], Vector], ours: Callable[[str], Vector]) -> Callable[[str], Vector]:
    return lambda text: np.append(embed(text), ours(text)[SIGNS:-1])


def _word_llama() -> Callable[[str], Vector] | None:
    try:
        import wordllama  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    beside = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(dim=256, trunc_dim=64, disable_download=True, cache_dir=beside)
    return lambda text: np.asarray(model.embed([text], norm=True)[0], float)


# ------------------------------------------------------------------ n-grams


def words_of(text: str) -> list[bytes]:
    """Those that `TextFeatures` hashes."""
    return clipped(text).encode("utf-8", "replace").translate(WORDS_ONLY).split()


def character_grams(text: str) -> list[bytes]:
    """Of 3 to 5 bytes, across words too."""
    line = b" %b " % b" ".join(words_of(text))
    return [line[at : at + n] for n in (3, 4, 5) for at in range(len(line) - n + 1)]


def word_grams(text: str) -> list[bytes]:
    """The words and their neighbouring pairs."""
    words = words_of(text)
    return words + [b"%b %b" % pair for pair in pairwise(words)]


def hashed(grams: Sequence[bytes]) -> Vector:
    """(SIGNS,) as `signature` makes them, but of all: its first MOST_WORDS n-grams would be no whole text."""
    if not grams:
        return np.zeros(SIGNS)
    rarity = np.array([min(len(gram), 8) for gram in grams], dtype=np.float32)
    z = (2.0 * (rarity @ bits(grams)) - rarity.sum()).astype(np.float64)
    return np.asarray(z / max(float(np.sqrt(z @ z)), 1e-9))


# ------------------------------------------------------------------ one run


def captured(features: Mapped, rows: Sequence[Row], known: Frontier, seed: int, *, teach: int) -> float:
    """Mean capture over the budgets, on the rows after the first `teach`."""
    models = priced_models(rows[:FOR_PRICES])
    router = Router(models, features=features, seed=seed, clock=StillClock(), ids=CountingIds())
    chance = random.Random(seed)
    for row in rows[:teach]:
        decision = router.assign(Query(row.prompt, preferences=QUALITY_ONLY), chance.choice(models).name)
        router.fold(Step(decision, row, router.catalogue[decision.model]).observation())
    with one_thread():
        router.beliefs.refresh()
    judged = rows[teach:]
    believed = [_believed(router, row) for row in judged]
    quality, cost = (np.array([[pair[side] for pair in each] for each in believed]) for side in (0, 1))
    real = np.array([[(row.outcomes[m.name].cost_usd, row.outcomes[m.name].quality) for m in models] for row in judged])
    budgets = known.budgets(BUDGETS)
    return float(np.mean([known.capture(spent(quality, cost, real, b), budget_usd=b) for b in budgets]))


def _believed(router: Router, row: Row) -> list[tuple[float, float]]:
    """Quality and dollars of each model, in the catalogue's order."""
    query = Query(row.prompt, preferences=QUALITY_ONLY)
    candidates = {c.model: (c.quality, c.cost_usd or 0.0) for c in router.choose(query).candidates}
    return [candidates[model.name] for model in router.catalogue]


def spent(quality: Vector, cost: Vector, real: Vector, budget_usd: float) -> tuple[float, float]:
    """Mean dollars and quality at the least price at which no more than the budget is spent."""
    low, high = 0.0, 1.0 / cost.mean()
    mean = _at(quality, cost, real, low)
    if mean[0] <= budget_usd:
        return mean
    while _at(quality, cost, real, high)[0] > budget_usd and high < 1e12:
        high *= 4.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (low, middle) if _at(quality, cost, real, middle)[0] <= budget_usd else (middle, high)
    return _at(quality, cost, real, high)


def _at(quality: Vector, cost: Vector, real: Vector, price: float) -> tuple[float, float]:
    taken = (quality - price * cost).argmax(axis=1)
    dollars, good = real[np.arange(len(real)), taken].mean(axis=0)
    return float(dollars), float(good)


def microseconds(features: Mapped, rows: Sequence[Row]) -> float:
    """The least of five medians over texts of 200 tokens."""
    texts = [(row.prompt * 40)[:TOKENS_200] for row in rows[:20]]
    medians = []
    for _ in range(5):
        times = []
        for text in texts:
            began = time.perf_counter()
            features.mapped(text)
            times.append(time.perf_counter() - began)
        medians.append(float(np.median(times)) * 1e6)
    return min(medians)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--only", help="the features of this name, as the table calls them")
    parser.add_argument("--teach", type=int, default=1000)
    parser.add_argument("--judge", type=int, default=700)
    wanted = parser.parse_args()
    some = [each for each in candidates(wanted.minilm) if wanted.only in (None, each.version)]
    print(f"{'table':<12}{'features':<20}{'d':>4}{'us':>9}  capture", flush=True)
    for path in wanted.tables:
        rows = read_table(path)
        known = frontier(rows)
        few = shuffled(rows, seed=99, limit=wanted.teach + wanted.judge)
        if len(few) <= wanted.teach:
            parser.error(f"--teach: {path.name} has {len(rows)} prompts, and some must be left to judge")
        for features in some:
            orders = [shuffled(few, seed=s) for s in range(wanted.seeds)]
            runs = [captured(features, order, known, s, teach=wanted.teach) for s, order in enumerate(orders)]
            error = np.std(runs, ddof=1) / len(runs) ** 0.5
            name = path.name.partition(".")[0]
            took = microseconds(features, few)
            told = f"{np.mean(runs):+.3f} ±{error:.3f}"
            print(f"{name:<12}{features.version:<20}{features.dimension:>4}{took:>9.0f}  {told}", flush=True)


if __name__ == "__main__":
    main()
