"""/metrics of several workers: what was sent is what is counted, whoever answers and whoever dies."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from tests.support.gateway import GatewayProcess, children, declared, until
from tests.support.upstream import FakeUpstream

WORKERS = 3
PAGE = os.sysconf("SC_PAGE_SIZE")
COMPLETE = {"http_route": "/v1/complete"}


@pytest.fixture(scope="module")
def gateway(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    with GatewayProcess(tmp_path_factory.mktemp("counted"), workers=WORKERS, config=config) as process:
        yield process


def total(gateway: GatewayProcess, name: str, **labels: str) -> float:
    """The sum of the series that have these labels."""
    families = text_string_to_metric_families(gateway.get("/metrics").body.decode())
    found = (sample for family in families for sample in family.samples if sample.name == name)
    return sum(s.value for s in found if labels.items() <= s.labels.items())


def send(gateway: GatewayProcess, count: int) -> None:
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda i: gateway.post("/v1/complete", {"prompt": f"Say {i}."}), range(count)))
    assert [reply.status for reply in replies] == [200] * count


def test_several_workers_are_counted_as_one_also_when_one_is_killed(gateway: GatewayProcess) -> None:
    """To the request: before, after, and after another took its place."""
    workers = until(lambda: found if len(found := children(gateway.pid)) == WORKERS else [])
    send(gateway, 60)
    until(lambda: total(gateway, "conduit_requests_total", **COMPLETE) == 60)  # counted when the last byte is out
    until(lambda: total(gateway, "conduit_candidate_probability_sum") == pytest.approx(60))  # added up each second
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: workers[0] not in children(gateway.pid))
    assert total(gateway, "conduit_requests_total", **COMPLETE) == 60
    until(lambda: total(gateway, "conduit_workers") == WORKERS)
    send(gateway, 40)
    until(lambda: total(gateway, "conduit_requests_total", **COMPLETE) == 100)
    until(lambda: total(gateway, "conduit_candidate_probability_sum") == pytest.approx(100))
    for _ in range(WORKERS):
        assert total(gateway, "conduit_requests_total", status="200", **COMPLETE) == 100
        assert total(gateway, "conduit_outcomes_total", status="answered") == 100
        assert total(gateway, "conduit_tokens_total", gen_ai_token_type="output") == 300
        assert total(gateway, "conduit_routing_decisions_total", routed="true") == 100
        assert total(gateway, "conduit_routing_regret_count") == 100
        spent = total(gateway, "conduit_spent_usd_total")
        assert total(gateway, "conduit_savings_spent_usd_total") == pytest.approx(spent)
        assert total(gateway, "conduit_savings_baseline_usd_total") > spent
        assert total(gateway, "http_server_request_duration_seconds_count", **COMPLETE) == 100
        assert total(gateway, "conduit_gateway_overhead_seconds_count", **COMPLETE) == 100


def test_refusals_failures_and_feedback_are_told_apart(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """By route and code, and by what failed."""
    assert gateway.post("/v1/complete", {"prompt": ""}).status == 422
    assert gateway.get("/no/such/path").status == 404
    assert total(gateway, "conduit_errors_total", code="invalid_request", **COMPLETE) == 1
    assert total(gateway, "conduit_errors_total", code="not_found", http_route="other") == 1
    done = gateway.post("/v1/complete", {"prompt": "Rate me."}).json
    assert gateway.post("/v1/feedback", {"response_id": done["id"], "thumbs": "up"}).status == 200
    assert total(gateway, "conduit_feedback_submissions_total", type="thumbs", source="caller") == 1
    assert total(gateway, "conduit_feedback_quality_sum", model=done["model"]) == 1
    assert total(gateway, "conduit_requests_in_flight") == 1  # this very request
    until(lambda: total(gateway, "conduit_follower_position") > 0)
    assert total(gateway, "conduit_ledger_queue") == 0


def test_what_was_counted_goes_with_the_server(tmp_path: Path) -> None:
    """When it ends in order nothing stays behind in shared memory."""
    with GatewayProcess(tmp_path, command="conduit serve") as gateway:
        assert total(gateway, "conduit_workers") == 1
        mine = [path for path in Path("/dev/shm").glob("conduit-metrics-*") if f"-{gateway.pid}-" in path.name]
        assert len(mine) == 1
        gateway.stop()
        assert not mine[0].exists()


def test_prompts_that_come_again_are_at_hand(tmp_path: Path) -> None:
    """Counted as hits; without a cache nothing is."""
    with GatewayProcess(tmp_path / "with") as gateway:
        for prompt in ("Say it.", "Say it.", "Say more.", "Say it."):
            assert gateway.post("/v1/route", {"prompt": prompt}).status == 200
        assert total(gateway, "conduit_features_cache_hits_total") == 2
        assert total(gateway, "conduit_features_cache_misses_total") == 2
    with GatewayProcess(tmp_path / "without", env={"FEATURES_CACHE_SIZE": "0"}) as gateway:
        assert gateway.post("/v1/route", {"prompt": "Say it."}).status == 200
        assert total(gateway, "conduit_features_cache_misses_total") == 0


def test_processes_are_told_together_under_the_names_that_dashboards_know(gateway: GatewayProcess) -> None:
    """Sums of the workers, where Prometheus's library would tell of the one that happens to answer."""
    until(lambda: total(gateway, "conduit_workers") == WORKERS)
    workers = children(gateway.pid)
    resident = sum(int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) for pid in workers) * PAGE
    until(lambda: total(gateway, "process_resident_memory_bytes") == pytest.approx(resident, rel=0.1))
    assert total(gateway, "process_open_fds") > 10 * WORKERS
    assert total(gateway, "process_start_time_seconds") == pytest.approx(time.time(), abs=600)
    before = total(gateway, "process_cpu_seconds_total")
    send(gateway, 60)
    until(lambda: total(gateway, "process_cpu_seconds_total") > before)
    assert total(gateway, "python_gc_collections_total", generation="0") > WORKERS


def test_openmetrics_is_written_for_a_reader_that_asks_for_it(gateway: GatewayProcess) -> None:
    reply = gateway.get("/metrics", {"accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert reply.body.endswith(b"# EOF\n")
    assert "conduit_requests" in {family.name for family in openmetrics_families(reply.body.decode())}
