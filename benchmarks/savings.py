"""Whether the interval of savings holds what was saved: on tables where it is known what the baseline would have cost.

    python -m benchmarks.savings TABLE.jsonl.gz [...] [--runs 100] [--requests 500]

In each run the default policy answers so many prompts from a cold start and learns from what it chose; then what it
saved against always asking the dearest model is estimated, as `/v1/stats` and `conduit savings` do, and compared with
the truth for these very prompts.
"""

import argparse
from pathlib import Path

import numpy as np

from conduit.bench.replay import FOR_PRICES, Step, priced_models, shuffled
from conduit.bench.tables import Row, read_table
from conduit.routing.decision import Outcome, Record, Status
from conduit.routing.query import Query
from conduit.routing.router import Router
from conduit.routing.savings import Savings, savings
from conduit.routing.system import CountingIds, StillClock
from conduit.routing.threads import one_thread


def dearest(rows: list[Row]) -> str:
    """By mean cost."""
    return max(rows[0].outcomes, key=lambda model: float(np.mean([row.outcomes[model].cost_usd for row in rows])))


def run(rows: list[Row], baseline: str, *, seed: int) -> tuple[Savings | None, float]:
    """What is estimated, and what was saved, in US dollars a request."""
    clock = StillClock()
    router = Router(priced_models(rows[:FOR_PRICES]), seed=seed, clock=clock, ids=CountingIds())
    records, saved = [], []
    for row in rows:
        clock.at_s += 1.0
        decision = router.choose(Query(row.prompt))
        observation = Step(decision, row, router.catalogue[decision.model]).observation()
        router.learn(observation)
        saved.append(row.outcomes[baseline].cost_usd - row.outcomes[decision.model].cost_usd)
        records.append(Record(decision, _answer(observation.cost_usd, decision.id, decision.model, clock.at_s), None))
    router.beliefs.refresh()
    return savings(records, router=router, baseline=baseline), float(np.mean(saved))


def _answer(cost_usd: float | None, decision_id: str, model: str, time_s: float) -> Outcome:
    return Outcome(decision_id, time_s, model, Status.ANSWERED, (), input_tokens=0, cost_usd=cost_usd)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--requests", type=int, default=500)
    wanted = parser.parse_args()
    for path in wanted.tables:
        table = read_table(path)
        baseline = dearest(table)
        with one_thread():
            orders = (shuffled(table, seed=seed, limit=wanted.requests) for seed in range(wanted.runs))
            found = [run(rows, baseline, seed=seed) for seed, rows in enumerate(orders)]
        told = [(estimate, truth) for estimate, truth in found if estimate is not None]
        covered = sum(estimate.low <= truth <= estimate.high for estimate, truth in told)
        ratios = np.array([(e.value / truth, (e.high - e.low) / truth) for e, truth in told])
        print(
            f"{path.name.partition('.')[0]:<12}against {baseline}: covered {covered} of {len(told)}; of the truth the "
            f"estimate is {ratios[:, 0].mean():.3f} ±{ratios[:, 0].std(ddof=1) / len(told) ** 0.5:.3f}, "
            f"the interval {ratios[:, 1].mean():.2f} wide",
            flush=True,
        )


if __name__ == "__main__":
    main()
