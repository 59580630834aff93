"""CONTRIBUTING.md is followed: its examples are run as they stand, and do what the page says of them."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from conduit import Model, Price, Router
from conduit.core.protocols import Call, Timeouts
from conduit.observability.metrics.metrics import METRICS
from conduit.observability.metrics.samples import Samples
from conduit.routing import policies

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r"```python (\w+)\n(.*?)```", PAGE, re.DOTALL))


def run(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": f"contributing_{name}"}
    exec(compile(EXAMPLES[name], f"CONTRIBUTING.md, {name}", "exec"), found)
    return found


def test_all_examples_are_known() -> None:
    assert EXAMPLES.keys() == {"policy", "metric", "provider", "setting"}
    assert PAGE.count("```python") == len(EXAMPLES)


def test_a_policy_learns_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    softmax = run("policy")["Softmax"]
    monkeypatch.setattr(policies, "POLICIES", {**policies.POLICIES, "softmax": lambda *_: softmax()})
    models = [Model(name, "p", price=Price(1.0, 1.0)) for name in ("good", "bad")]
    router = Router(models, policy="softmax", seed=1)
    before = router.choose("hello")
    assert sum(c.probability for c in before.candidates) == pytest.approx(1.0)
    for _ in range(30):
        for name, quality in (("good", 0.9), ("bad", 0.1)):
            router.learn(router.assign(before_query(), name).observation(quality=quality))
    after = {c.model: c.probability for c in router.choose("hello").candidates}
    assert after["good"] > 0.9


def before_query() -> Any:
    from conduit import Query

    return Query("hello")


def test_a_metric_has_a_name_of_its_own_and_is_counted_once_declared() -> None:
    metric = run("metric")["RETRIED"]
    assert metric.name not in {each.name for each in METRICS}
    assert metric.exposed_name == "conduit_requests_retried_total"
    samples = Samples()
    samples.add(metric, ("/v1/route",))
    assert samples._places[metric, ("/v1/route",)]


async def test_a_provider_answers_whole_and_in_pieces() -> None:
    echo = run("provider")["provider"]
    call = Call(Model("echo", "p"), {"messages": "hello"}, Timeouts(), {})
    answer = await echo.complete(call)
    assert orjson.loads(answer.body) == answer.data
    assert [frame.raw[:6] async for frame in echo.stream(call)] == [b"data: "]
    await echo.close()


def test_settings_print_their_rows() -> None:
    found = run("setting")
    assert all(row in (ROOT / "docs" / "configuration.md").read_text() for row in found["rows"])
    assert all(line in (ROOT / ".env.example").read_text() for line in found["lines"])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:conduit|tests|docs)/[\w/.*-]+)`", PAGE))))
def test_every_path_that_is_named_is_there(path: str) -> None:
    assert list(ROOT.glob(path.rstrip("/"))), path
