"""An OpenTelemetry collector on a real socket, made of opentelemetry-proto: it takes what is exported, or refuses."""

import gzip
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

Attributes = dict[str, Any]


@dataclass(frozen=True)
class SpanSeen:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    duration_s: float
    failed: bool
    attributes: Attributes
    state: str


@dataclass
class Collector:
    """Use as a context manager. `status` is what it answers; while it is `held`, nothing."""

    status: int = 200
    headers: list[Mapping[str, str]] = field(default_factory=list)
    spans: list[SpanSeen] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    """The latest of each name, as protobuf."""
    resources: list[Attributes] = field(default_factory=list)
    refused: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def hold(self) -> None:
        self.released.clear()

    def named(self, name: str) -> list[SpanSeen]:
        return [span for span in list(self.spans) if span.name == name]

    def of(self, trace_id: str) -> list[SpanSeen]:
        return [span for span in list(self.spans) if span.trace_id == trace_id]

    def points(self, name: str) -> list[tuple[Attributes, Any]]:
        """Of the latest export: the attributes and the data point."""
        metric = self.metrics.get(name)
        if metric is None:
            return []
        data = getattr(metric, metric.WhichOneof("data"))
        return [(plain(point.attributes), point) for point in data.data_points]

    def total(self, name: str, **labels: object) -> float:
        """The sum over the series that have these attributes: of counters the value, of histograms the count."""
        found = (point for attributes, point in self.points(name) if labels.items() <= attributes.items())
        return float(sum(point.as_double if hasattr(point, "as_double") else point.count for point in found))

    def __enter__(self) -> Self:
        self.released.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # the name is http.server's
                collector._take(self)

            def log_message(self, *_: object) -> None:
                """Tests speak for themselves."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        self.released.wait(30)
        if self.status == 200:
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            assert request.headers["content-encoding"] == "gzip"
            {"/v1/traces": self._traces, "/v1/metrics": self._metrics}[request.path](gzip.decompress(body))
        else:
            self.refused += 1
        request.send_response(self.status)
        request.send_header("content-length", "0")
        request.end_headers()

    def _traces(self, raw: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(raw).resource_spans:
            self.resources.append(plain(group.resource.attributes))
            self.spans.extend(_seen(span) for scope in group.scope_spans for span in scope.spans)

    def _metrics(self, raw: bytes) -> None:
        for group in ExportMetricsServiceRequest.FromString(raw).resource_metrics:
            self.resources.append(plain(group.resource.attributes))
            self.metrics |= {metric.name: metric for scope in group.scope_metrics for metric in scope.metrics}


def _seen(span: Any) -> SpanSeen:
    return SpanSeen(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        duration_s=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        failed=span.status.code == 2,
        attributes=plain(span.attributes),
        state=span.trace_state,
    )


def plain(attributes: Any) -> Attributes:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
