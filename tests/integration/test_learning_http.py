"""Learning, seen from outside: real processes, the official client, feedback, and a bill that shrinks."""

import asyncio
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from openai import OpenAI

from conduit.bench.prompts import prompts
from conduit.bench.tables import Recorded, Row, read_table
from conduit.core.protocols import Call, Timeouts
from conduit.providers.sandbox import SandboxProvider, sandbox_models
from conduit.routing.catalogue import Catalogue
from tests.support.gateway import ROOT, GatewayProcess, declared, recorded_upstream

SEEDS = (0, 1, 2)
PROMPTS = 800
SANDBOX_PROMPTS = 300
THREADS = 4
TYPICAL_TOKENS = 500
"""By which a model's price is chosen so that its mean answer costs what was recorded."""

# The margins, of the mean over the seeds in the second half, against uniform routing of the same prompts.
PARETO_COST, PARETO_QUALITY = 0.35, 0.015
SANDBOX_COST, SANDBOX_QUALITY = 0.60, -0.04

THRIFTY = {"quality": 1, "cost": 2, "latency": 0}
"""With the preset `balanced` the best that can be done in the sandbox is to spend more than uniform routing does."""


@dataclass(frozen=True, slots=True)
class Half:
    """The second half of one run, beside what uniform routing expects on the same prompts."""

    quality: float
    cost_usd: float
    uniform_quality: float
    uniform_cost_usd: float


Judge = Callable[[Row, Any], float]
Show = Callable[[str], None]


def run(gateway: GatewayProcess, rows: Sequence[Row], judge: Judge, preferences: object = "balanced") -> Half:
    """Every prompt is asked, and its answer rated by `judge`, by several clients at once."""
    body = {"conduit": {"preferences": preferences}}
    with OpenAI(base_url=gateway.base_url, api_key="sk", max_retries=0) as client:

        def one(row: Row) -> tuple[float, float]:
            message: Any = [{"role": "user", "content": row.prompt}]
            raw = client.chat.completions.with_raw_response.create(model="auto", messages=message, extra_body=body)
            quality = judge(row, raw.parse())
            said = {"response_id": raw.headers["x-conduit-decision"], "quality_score": quality}
            assert gateway.post("/v1/feedback", said).status == 200
            return quality, float(raw.headers["x-conduit-cost-usd"])

        with ThreadPoolExecutor(THREADS) as threads:
            seen = list(threads.map(one, rows))
    stats = gateway.get("/v1/stats").json
    assert stats["total_queries"] == stats["quality_metrics"]["rated"] == len(rows)
    assert stats["total_cost"] == pytest.approx(sum(cost for _, cost in seen), rel=1e-3)
    half = len(rows) // 2
    everyone = [outcome for row in rows[half:] for outcome in row.outcomes.values()]
    return Half(
        fmean(quality for quality, _ in seen[half:]),
        fmean(cost for _, cost in seen[half:]),
        fmean(outcome.quality for outcome in everyone),
        fmean(outcome.cost_usd for outcome in everyone),
    )


def judged(show: Show, name: str, halves: Sequence[Half], *, cost_share: float, quality_gain: float) -> None:
    """Shows the figures, and holds their means to the margins."""
    for seed, half in zip(SEEDS, halves, strict=True):
        show(
            f"{name}, seed {seed}, second half: quality {half.quality:.3f} (uniform {half.uniform_quality:.3f}), "
            f"USD a request {half.cost_usd:.6f} (uniform {half.uniform_cost_usd:.6f})"
        )
    share = fmean(half.cost_usd / half.uniform_cost_usd for half in halves)
    gain = fmean(half.quality - half.uniform_quality for half in halves)
    show(f"{name}, mean: {share:.3f} of uniform's cost, {gain:+.3f} of its quality")
    assert share <= cost_share
    assert gain >= quality_gain


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Figures are worth seeing when all is well, too."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")

    return say


# ------------------------------------------------------------------ recorded outcomes of real models


@pytest.fixture(scope="module")
def table() -> Path:
    path = Path(os.environ.get("CONDUIT_ROUTING_TABLES", ROOT.parent / "shared" / "data")) / "pareto_val.jsonl.gz"
    if path.exists():
        return path
    absent = f"the routing table {path} is absent; CONDUIT_ROUTING_TABLES names the folder that holds it"
    if os.environ.get("CI"):
        pytest.fail(absent)
    pytest.skip(absent)


def test_recorded_outcomes_of_real_models(table: Path, tmp_path: Path, show: Show) -> None:
    """800 real prompts: after 400 the bill is at most 35 % of uniform routing's, and quality at least 0.015 above."""
    rows = read_table(table)
    prices = {
        name: fmean(row.outcomes[name].cost_usd for row in rows) / TYPICAL_TOKENS * 1e6 for name in rows[0].outcomes
    }
    halves = []
    with recorded_upstream(table, prices) as url:
        for seed in SEEDS:
            sample = random.Random(seed).sample(rows, PROMPTS)
            config = declared(url, prices)
            with GatewayProcess(tmp_path / str(seed), config=config, env={"SEED": str(seed)}) as gateway:
                halves.append(run(gateway, sample, _as_recorded))
    judged(show, "pareto_val", halves, cost_share=PARETO_COST, quality_gain=PARETO_QUALITY)


def _as_recorded(row: Row, answer: Any) -> float:
    assert answer.model_extra["recorded"]["quality"] == row.outcomes[answer.model].quality
    return row.outcomes[answer.model].quality


# ------------------------------------------------------------------ the sandbox, with no data at all


@pytest.fixture
def sandbox_rows() -> Iterator[Callable[[int], list[Row]]]:
    """Made-up prompts with what every simulated model would make of them."""
    models, provider = sandbox_models(), SandboxProvider(time_scale=0.0)
    catalogue = Catalogue(models)

    async def outcome(name: str, prompt: str) -> Recorded:
        body = {"messages": [{"role": "user", "content": prompt}]}
        answer: Any = (await provider.complete(Call(catalogue[name], body, Timeouts(), {}))).data
        usage = answer["usage"]
        cost = catalogue[name].cost_usd(usage["prompt_tokens"], usage["completion_tokens"])
        return Recorded(answer["conduit_sandbox"]["quality"], cost or 0.0)

    async def outcomes(prompt: str) -> Mapping[str, Recorded]:
        return {model.name: await outcome(model.name, prompt) for model in models}

    async def row(prompt: str) -> Row:
        return Row("", prompt, await outcomes(prompt))

    with asyncio.Runner() as runner:
        yield lambda seed: [runner.run(row(prompt)) for prompt in islice(prompts(seed), SANDBOX_PROMPTS)]


def test_the_sandbox(sandbox_rows: Callable[[int], list[Row]], tmp_path: Path, show: Show) -> None:
    """300 made-up prompts: after 150 the bill is at most 60 % of uniform routing's, and quality at most 0.04 below."""
    halves = []
    for seed in SEEDS:
        env = {"SEED": str(seed), "SANDBOX_TIME_SCALE": "0"}
        with GatewayProcess(tmp_path / str(seed), env=env) as gateway:
            halves.append(run(gateway, sandbox_rows(seed), _as_simulated, THRIFTY))
    judged(show, "sandbox", halves, cost_share=SANDBOX_COST, quality_gain=SANDBOX_QUALITY)


def _as_simulated(row: Row, answer: Any) -> float:
    quality: float = answer.model_extra["conduit_sandbox"]["quality"]
    assert quality == row.outcomes[answer.model].quality
    return quality
