"""What a collector gets from a real gateway: every span with its parent and attributes, every metric, and no prompt."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conduit.observability.metrics.metrics import METRICS
from tests.integration.conftest import MARK
from tests.support.collector import Collector, SpanSeen
from tests.support.gateway import GatewayProcess, Reply, declared, until
from tests.support.scripts import refuses, says
from tests.support.upstream import FakeUpstream
from tests.support.valkey import redis_url

__all__ = ["redis_url"]

CHAT = "/v1/chat/completions"
ADMIN = "an-admin-of-the-spans-4711"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
INTERNAL, SERVER, CLIENT = 1, 2, 3


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(
    fake_server: FakeUpstream, collector: Collector, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    env = {
        "OTEL_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20c2VjcmV0LTQ3MTE=, x-team=search",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "REDIS_URL": redis_url,
        "API_RATE_LIMIT": "100000",
        "API_CONCURRENT_LIMIT": "1000",
    }
    with GatewayProcess(tmp_path_factory.mktemp("seen"), config=config, env=env) as process:
        yield process
        assert "c2VjcmV0" not in process.said
        assert "Traceback" not in process.said


def ask(gateway: GatewayProcess, *, stream: bool = False, headers: dict[str, str] | None = None) -> Reply:
    body = {"model": "auto", "messages": [{"role": "user", "content": f"Hello, {MARK}"}], "stream": stream}
    return gateway.post(CHAT, {**body, "max_tokens": 50}, headers)


def trace_of(collector: Collector, reply: Reply) -> dict[str, SpanSeen]:
    """Its spans by name, once the outermost has come: it ends last."""
    name = reply.headers["x-request-id"]

    def outermost() -> list[SpanSeen]:
        return [span for span in list(collector.spans) if span.attributes.get("conduit.request.id") == name]

    (root,) = until(outermost)
    return {span.name: span for span in collector.of(root.trace_id)}


def test_all_that_a_request_waits_for_is_a_span(fake_server: FakeUpstream, redis_url: str, tmp_path: Path) -> None:
    """Its key, its session's last answer, what it may cost, its Idempotency-Key, the cache."""
    env = {"OTEL_ENABLED": "true", "REDIS_URL": redis_url, "CACHE_ENABLED": "true", "API_KEY": ADMIN}
    body = {"model": "auto", "messages": [{"role": "user", "content": MARK}], "temperature": 0}
    config = declared(fake_server.base_url, {"cheap": 1.0})
    in_database = ("keys.find", "latest", "append", "reservations.take", "reservations.settle", "answers.claim")
    wanted = {f"sqlite {each}" for each in (*in_database, "answers.keep")}
    wanted |= {"redis cache.get", "redis cache.put", "redis EVALSHA"}
    with Collector() as collector:
        env |= {"CAP_USD_PER_DAY": "100", "API_RATE_LIMIT": "1000", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with GatewayProcess(tmp_path, config=config, env=env) as gateway:
            own = {"name": "mine", "scopes": ["complete"]}
            secret = gateway.post("/v1/keys", own, {"authorization": f"Bearer {ADMIN}"}).json["secret"]
            headers = {"authorization": f"Bearer {secret}", "x-conduit-session": "s", "idempotency-key": "once"}
            reply = gateway.post(CHAT, body, headers)
            root = trace_of(collector, reply)[f"POST {CHAT}"]
            until(
                lambda: wanted <= {span.name for span in collector.of(root.trace_id)},
                otherwise=lambda: str(wanted - {span.name for span in collector.of(root.trace_id)}),
            )
        assert MARK not in str(collector.of(root.trace_id))
        assert secret not in str(collector.of(root.trace_id))


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_one_tree_of_spans(gateway: GatewayProcess, collector: Collector, stream: bool) -> None:
    """From the socket to the provider, with what was decided, and nothing of what was said."""
    reply = ask(gateway, stream=stream)
    model, decision = reply.headers["x-conduit-model"], reply.headers["x-conduit-decision"]
    spans = trace_of(collector, reply)
    root, route, choose = spans[f"POST {CHAT}"], spans["conduit.route"], spans["conduit.choose"]
    call, features = spans[f"chat {model}"], spans["conduit.features"]
    assert root.parent_id == ""
    assert {route.parent_id, call.parent_id} == {root.span_id}
    assert choose.parent_id == route.span_id
    assert features.parent_id == choose.span_id
    appends = [span for span in collector.of(root.trace_id) if span.name == "sqlite append"]
    assert {span.parent_id for span in appends} == {route.span_id, root.span_id}
    scripts = [span for span in collector.of(root.trace_id) if span.name == "redis EVALSHA"]
    assert {span.parent_id for span in scripts} == {root.span_id}
    assert [span.attributes["db.stored_procedure.name"] for span in scripts] == ["enter", "leave"]
    assert [span.kind for span in (root, route, call, appends[0])] == [SERVER, INTERNAL, CLIENT, CLIENT]
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["http.route"] == CHAT
    assert root.attributes["conduit.decision.id"] == route.attributes["conduit.decision.id"] == decision
    assert route.attributes["conduit.domain"] == "chat"
    assert 0 < route.attributes["conduit.propensity"] <= 1
    assert features.attributes["conduit.features.version"]
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.response.id": "chatcmpl-fake",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert told.items() <= call.attributes.items()
    assert ("gen_ai.request.stream" in call.attributes) == stream
    assert 0 < features.duration_s < route.duration_s < root.duration_s
    assert MARK not in str(spans)
    assert not any(span.failed for span in spans.values())


def test_the_callers_trace_goes_on_at_the_provider(
    gateway: GatewayProcess, collector: Collector, fake: FakeUpstream
) -> None:
    """The provider is called from within our span, and ours from within the caller's."""
    reply = ask(gateway, headers={"traceparent": CALLER, "tracestate": "vendor=1"})
    spans = trace_of(collector, reply)
    root, call = spans[f"POST {CHAT}"], spans[f"chat {reply.headers['x-conduit-model']}"]
    assert (root.trace_id, root.parent_id, root.state) == (CALLER[3:35], CALLER[36:52], "vendor=1")
    (received,) = fake.requests
    assert received.headers["traceparent"] == f"00-{root.trace_id}-{call.span_id}-01"
    assert received.headers["tracestate"] == "vendor=1"


def test_a_caller_who_does_not_sample_is_heeded(
    gateway: GatewayProcess, collector: Collector, fake: FakeUpstream
) -> None:
    """And the provider is told so."""
    ask(gateway, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"})
    trace_of(collector, ask(gateway))  # a later one has arrived
    sent = fake.requests[0].headers["traceparent"]
    assert (sent[:36], sent[-3:]) == (f"00-{'a' * 32}-", "-00")
    assert not collector.of("a" * 32)


def test_failures_and_refusals_are_seen(gateway: GatewayProcess, collector: Collector, fake: FakeUpstream) -> None:
    """With their code, and who failed; a refusal is the caller's failure, and not ours."""
    fake.plan("*", refuses(500))
    spans = trace_of(collector, ask(gateway))
    assert spans[f"POST {CHAT}"].failed
    assert spans[f"POST {CHAT}"].attributes["error.type"] == "upstream_error"
    assert {spans[f"chat {name}"].attributes["error.type"] for name in ("cheap", "dear")} == {"http 500"}
    fake.forget()
    refused = trace_of(
        collector, gateway.post(CHAT, {"model": "no-such", "messages": [{"role": "user", "content": "x"}]})
    )
    assert refused[f"POST {CHAT}"].attributes["error.type"] == "not_found"
    assert not refused[f"POST {CHAT}"].failed
    assert refused["conduit.choose"].attributes["error.type"] == "NotFound"


def test_feedback_has_its_spans(gateway: GatewayProcess, collector: Collector, fake: FakeUpstream) -> None:
    """The ledger is asked and written within it."""
    fake.plan("*", says("Well."))
    decision = ask(gateway).headers["x-conduit-decision"]
    reply = gateway.post("/v1/feedback", {"response_id": decision, "quality_score": 0.75})
    spans = trace_of(collector, reply)
    given = spans["conduit.feedback"]
    assert given.parent_id == spans["POST /v1/feedback"].span_id
    assert given.attributes == {
        "conduit.decision.id": decision,
        "conduit.feedback.quality": 0.75,
        "conduit.feedback.source": "caller",
    }
    for name in ("sqlite find", "sqlite taught", "sqlite append"):
        assert spans[name].parent_id == given.span_id
        assert spans[name].attributes == {"db.system.name": "sqlite", "db.operation.name": name.split()[1]}


def test_every_span_and_metric_arrives_counted_to_the_request(
    gateway: GatewayProcess, collector: Collector, fake: FakeUpstream
) -> None:
    """Of 200 requests, under the names of the contract; the figures are those of /metrics."""
    before = collector.total("conduit.requests", **{"http.route": CHAT, "status": "200"})
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda _: ask(gateway), range(200)))
    until(lambda: collector.total("conduit.requests", **{"http.route": CHAT, "status": "200"}) >= before + 200)
    assert {reply.status for reply in replies} == {200}
    _every_tree_is_whole(collector, replies)
    answers = collector.total("conduit.outcomes", status="answered")
    assert collector.total("conduit.requests", **{"http.route": CHAT, "status": "200"}) == before + 200
    assert collector.total("conduit.routing.decisions", domain="chat") >= answers >= 200
    for name in ("conduit.routing.cost", "conduit.routing.latency", "gen_ai.server.request.duration"):
        assert collector.total(name) == answers
    assert collector.total("gen_ai.client.token.usage", **{"gen_ai.provider.name": "fake"}) == 2 * answers
    assert collector.total("conduit.routing.confidence") == collector.total("conduit.routing.decisions", routed="true")
    seen = set(collector.metrics)
    declared_names = {metric.name for metric in METRICS}
    assert seen <= declared_names
    assert {"conduit.feedback.submissions", "gen_ai.client.operation.duration", "http.server.request.duration"} <= seen
    _histogram_is_whole(collector)
    assert dropped(gateway) == 0


def _every_tree_is_whole(collector: Collector, replies: list[Reply]) -> None:
    """Each request's own trace, each span once, and none that is nobody's child."""
    sent = {reply.headers["x-request-id"]: reply.headers["x-conduit-model"] for reply in replies}

    def roots() -> list[SpanSeen]:
        found = [span for span in list(collector.spans) if span.attributes.get("conduit.request.id") in sent]
        return found if len(found) >= len(sent) else []

    found = until(roots)
    assert len({root.trace_id for root in found}) == len(found) == len(sent)
    for root in found:
        tree = collector.of(root.trace_id)
        once = [f"POST {CHAT}", "conduit.route", "conduit.choose", "conduit.features"]
        call = f"chat {sent[root.attributes['conduit.request.id']]}"
        assert Counter(span.name for span in tree) == {
            **dict.fromkeys([*once, call], 1),
            "sqlite append": 2,
            "redis EVALSHA": 2,
        }
        assert {span.parent_id for span in tree} <= {"", *(span.span_id for span in tree)}
        assert len({span.span_id for span in tree}) == len(tree)


def _histogram_is_whole(collector: Collector) -> None:
    metric = next(m for m in METRICS if m.name == "gen_ai.client.operation.duration")
    assert collector.metrics[metric.name].unit == "s"
    for _, point in collector.points(metric.name):
        assert tuple(point.explicit_bounds) == metric.buckets
        assert sum(point.bucket_counts) == point.count
        assert len(point.bucket_counts) == len(metric.buckets) + 1
        assert 0 < point.start_time_unix_nano < point.time_unix_nano


def test_exports_say_who_sends_them_and_carry_the_headers(gateway: GatewayProcess, collector: Collector) -> None:
    """Compressed: the collector checks that itself."""
    ask(gateway)
    assert all(h["authorization"] == "Basic c2VjcmV0LTQ3MTE=" and h["x-team"] == "search" for h in collector.headers)
    assert all(resource["service.name"] == "conduit-router" for resource in collector.resources)
    assert len({resource["service.instance.id"] for resource in collector.resources}) == 1


def test_a_collector_that_is_away_slow_or_refuses_is_nobodys_problem(
    fake_server: FakeUpstream, fake: FakeUpstream, tmp_path: Path
) -> None:
    """Requests are answered, what is lost is counted, and the log says it once."""
    config = declared(fake_server.base_url, {"cheap": 1.0, "dear": 100.0})
    with Collector() as collector:
        env = {"OTEL_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_ENABLED": "false"}
        collector.status = 400
        with GatewayProcess(tmp_path, config=config, env=env) as gateway:
            assert [ask(gateway).status for _ in range(5)] == [200] * 5
            until(lambda: dropped(gateway) >= 30)
            collector.status = 200
            trace_of(collector, ask(gateway))
            assert not collector.metrics
            collector.hold()
            assert [ask(gateway).status for _ in range(5)] == [200] * 5
            assert gateway.stop() in {0, -15}
        assert gateway.said.count("traces cannot be exported: http 400") == 1


def dropped(gateway: GatewayProcess) -> float:
    lines = gateway.get("/metrics").body.decode().splitlines()
    found = [
        line.rsplit(" ", 1)[1] for line in lines if line.startswith('conduit_telemetry_dropped_total{signal="traces"')
    ]
    return float(found[0]) if found else 0.0
