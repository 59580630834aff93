"""Every metric that there is, declared once: what is counted, exported and documented follows from this table."""

from dataclasses import dataclass
from typing import Literal

from conduit.observability.tracing import names as n

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
SHORT_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)
MILLISECONDS = (10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 30_000.0, 60_000.0)
DOLLARS = (1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
TOKENS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0)

CALL = (n.OPERATION, n.PROVIDER, n.REQUEST_MODEL)
Kind = Literal["counter", "gauge", "histogram", "summary"]
Over = Literal["sum", "max", "min", "mean"]
WORDS = {"s": "seconds", "ms": "seconds", "USD": "usd", "By": "bytes", "{token}": "tokens", "1": ""}
"""Units as OpenTelemetry writes them -> as they stand in a Prometheus name, which has base units only."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One family of series, told apart by `labels`; compared by identity."""

    name: str
    """OpenTelemetry's, with dots."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, without infinity."""
    over: Over = "sum"
    """How a gauge of several living processes becomes one number; everything else is summed, the dead included."""

    @property
    def exposed_name(self) -> str:
        """Prometheus's: the base name, and the unit if the name does not end in it."""
        base, word = self.name.replace(".", "_"), WORDS.get(self.unit, "")
        if word and not base.endswith(word):
            base = f"{base}_{word}"
        return f"{base}_total" if self.kind == "counter" else base

    @property
    def exposed_per(self) -> float:
        """So many of what is counted are one of what Prometheus reads."""
        return 1000.0 if self.unit == "ms" else 1.0

    @property
    def width(self) -> int:
        """How many numbers one series is: a histogram's buckets, infinity, and the sum; a summary's sum and count."""
        return {"histogram": len(self.buckets) + 2, "summary": 2}.get(self.kind, 1)


def exposed_label(label: str) -> str:
    return label.replace(".", "_")


# ------------------------------------------------------------------ requests

REQUESTS = Metric("conduit.requests", "counter", "HTTP requests by route, status and key.", (n.ROUTE, "status", "key"))
ERRORS = Metric("conduit.errors", "counter", "Requests that were refused or failed, by code.", (n.ROUTE, "code"))
HTTP_DURATION = Metric(
    "http.server.request.duration",
    "histogram",
    "From the first byte of the request to the last byte of the answer.",
    (n.METHOD, n.ROUTE, n.STATUS),
    "s",
    SECONDS,
)
IN_FLIGHT = Metric("conduit.requests.in_flight", "gauge", "Requests that are being answered now.")
OVERHEAD = Metric(
    "conduit.gateway.overhead",
    "histogram",
    "What the gateway itself added to a request: its duration without the models' time and the reader's.",
    (n.ROUTE,),
    "s",
    SHORT_SECONDS,
)

# ------------------------------------------------------------------ decisions

DECISIONS = Metric(
    "conduit.routing.decisions", "counter", "Decisions by chosen model and domain.", ("model", "domain", "routed")
)
EXPLORED = Metric(
    "conduit.routing.explored",
    "counter",
    "Routed decisions that drew another model than the one of the best expected utility.",
)
REGRET = Metric(
    "conduit.routing.regret",
    "summary",
    "Expected utility that routed decisions gave up by exploring: the best candidate's less that of the one drawn.",
)
CONFIDENCE = Metric(
    "conduit.routing.confidence",
    "histogram",
    "Probability with which the chosen model was drawn.",
    ("model",),
    "1",
    SHARES,
)
REMOVED = Metric("conduit.routing.removed", "counter", "Models that a requirement removed before scoring.", ("model",))
PROBABILITY = Metric(
    "conduit.candidate.probability", "summary", "Probability of each candidate of routed decisions.", ("model",)
)
QUALITY = Metric(
    "conduit.candidate.quality",
    "summary",
    "Quality (0..1) that is believed of each candidate: the posterior mean, over the contexts that were asked.",
    ("model",),
)
QUALITY_SD = Metric("conduit.candidate.quality_sd", "summary", "Width (standard deviation) of that belief.", ("model",))
PRICE = Metric(
    "conduit.pacing.price",
    "gauge",
    "Utility per US dollar that the budget asks for, as of the last decision.",
    over="mean",
)

# ------------------------------------------------------------------ answers

OUTCOMES = Metric("conduit.outcomes", "counter", "How calls ended.", ("model", "status", "key"))
TOKENS_USED = Metric("conduit.tokens", "counter", "Tokens used.", ("model", "key", n.TOKEN_TYPE), "{token}")
SPENT = Metric("conduit.spent", "counter", "US dollars spent on answers.", ("model", "key"), "USD")
UNPRICED = Metric("conduit.answers.unpriced", "counter", "Answers whose price is not known.", ("model",))
BASELINE_USD = Metric(
    "conduit.savings.baseline",
    "counter",
    "US dollars that routed answers were forecast to cost from the baseline model, where it could have been asked.",
    unit="USD",
)
COMPARED_USD = Metric(
    "conduit.savings.spent",
    "counter",
    "US dollars that the same answers did cost; what the other is more has been saved.",
    unit="USD",
)
ROUTING_COST = Metric("conduit.routing.cost", "histogram", "US dollars an answer.", ("model",), "USD", DOLLARS)
ROUTING_LATENCY = Metric(
    "conduit.routing.latency", "histogram", "Until the end of an answer.", ("model",), "ms", MILLISECONDS
)
FAILED_ATTEMPTS = Metric(
    "conduit.attempts.failed", "counter", "Models that were asked and failed, by error.", ("model", n.ERROR)
)
FALLBACKS = Metric(
    "conduit.fallbacks", "counter", "Requests that another model answered than the chosen one.", ("model",)
)
BREAKER_OPEN = Metric(
    "conduit.breaker.open", "gauge", "1 while a model is left alone after failures.", ("model",), over="max"
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "Tokens of an answer.",
    (*CALL, n.TOKEN_TYPE),
    "{token}",
    TOKENS,
)
OPERATION_DURATION = Metric(
    "gen_ai.client.operation.duration",
    "histogram",
    "One call of a provider; of a stream, until its first frame.",
    (*CALL, n.ERROR),
    "s",
    SECONDS,
)
FIRST_TOKEN = Metric(
    "gen_ai.server.time_to_first_token",
    "histogram",
    "From the request to the first frame of a stream.",
    CALL,
    "s",
    SECONDS,
)
SERVER_DURATION = Metric(
    "gen_ai.server.request.duration",
    "histogram",
    "From the request to the end of the answer, failed attempts included.",
    CALL,
    "s",
    SECONDS,
)

# ------------------------------------------------------------------ learning

FEEDBACK = Metric(
    "conduit.feedback.submissions", "counter", "Signals of feedback that were recorded.", ("type", "source")
)
REPEATED = Metric("conduit.feedback.repeated", "counter", "Feedback that said again what was said before.")
CAPPED = Metric("conduit.feedback.capped", "counter", "Times that a key had spent an hour's weight.", ("model",))
BUDGET_EXCEEDED = Metric(
    "conduit.budget.exceeded", "counter", "Calls of models that a hard cap did not pay for.", ("account",)
)
REWARD = Metric("conduit.feedback.quality", "summary", "Quality (0..1) that feedback came to.", ("model",))
JUDGED = Metric("conduit.judge.verdicts", "counter", "Answers that the judge scored.", ("model",))
NOT_JUDGED = Metric("conduit.judge.missed", "counter", "Answers drawn for the judge without a verdict.", ("why",))
JUDGE_SPENT = Metric("conduit.judge.spent", "counter", "US dollars that the judge spent.", unit="USD")
POSITION = Metric(
    "conduit.follower.position", "gauge", "Position in the ledger of the last observation folded.", over="min"
)
CAUGHT_UP = Metric(
    "conduit.follower.caught_up_timestamp",
    "gauge",
    "Unix time at which all that the ledger held was folded; time() minus it is the lag of the slowest worker.",
    unit="s",
    over="min",
)

DRIFTED = Metric(
    "conduit.drift.noticed", "counter", "Times that a model was found to be no longer what it was.", ("model", "signal")
)
DRIFT = Metric(
    "conduit.drift.flag",
    "gauge",
    "1 while a model is believed to be no longer what it was.",
    ("model", "signal"),
    over="max",
)
SET_ASIDE = Metric(
    "conduit.observations.set_aside",
    "counter",
    "Rows of the ledger that cannot be folded, and teach nothing.",
    ("field",),
)
SNAPSHOTS_REFUSED = Metric("conduit.snapshots.refused", "counter", "Snapshots that a start could not use.", ("why",))

# ------------------------------------------------------------------ the machine

CACHE_HITS = Metric("conduit.cache.hits", "counter", "Answers that came from the cache.")
CACHE_MISSES = Metric("conduit.cache.misses", "counter", "Answers that were looked for in the cache, in vain.")
FEATURES_HITS = Metric("conduit.features.cache.hits", "counter", "Prompts whose features were at hand.")
FEATURES_MISSES = Metric("conduit.features.cache.misses", "counter", "Prompts whose features had to be computed.")
QUEUE = Metric("conduit.ledger.queue", "gauge", "Entries that wait to be written.")
SPOOL = Metric("conduit.ledger.spool", "gauge", "Bytes that wait on the disk while the database is away.")
DEGRADED = Metric("conduit.degraded", "counter", "Things that worked less well than they should.", ("what",))
TELEMETRY_QUEUE = Metric("conduit.telemetry.queue", "gauge", "Spans that wait to be exported.")
DROPPED = Metric("conduit.telemetry.dropped", "counter", "Spans or exports that were let go.", ("signal",))
UNCOUNTED = Metric("conduit.metrics.uncounted", "counter", "Counts of series for which there was no room.")
WORKERS = Metric("conduit.workers", "gauge", "Processes that serve.")

# ------------------------------------------------------------------ processes

CPU = Metric("process.cpu", "counter", "Seconds of CPU of all workers, in user and system mode.", unit="s")
VIRTUAL = Metric("process.virtual_memory", "gauge", "Bytes of virtual memory of all workers.", unit="By")
RESIDENT = Metric("process.resident_memory", "gauge", "Bytes of resident memory of all workers.", unit="By")
STARTED = Metric(
    "process.start_time", "gauge", "When the oldest worker was started, Unix seconds.", unit="s", over="min"
)
OPEN_FDS = Metric("process.open_fds", "gauge", "Open file descriptors of all workers.")
MOST_FDS = Metric("process.max_fds", "gauge", "File descriptors that one worker may open.", over="min")
GC_COLLECTED = Metric(
    "python.gc.objects_collected", "counter", "Objects that the garbage collector freed.", ("generation",)
)
GC_UNCOLLECTABLE = Metric(
    "python.gc.objects_uncollectable", "counter", "Objects that it found and could not free.", ("generation",)
)
GC_RUNS = Metric("python.gc.collections", "counter", "Times that it ran.", ("generation",))

METRICS: tuple[Metric, ...] = (
    REQUESTS,
    ERRORS,
    HTTP_DURATION,
    IN_FLIGHT,
    OVERHEAD,
    DECISIONS,
    EXPLORED,
    REGRET,
    CONFIDENCE,
    REMOVED,
    PROBABILITY,
    QUALITY,
    QUALITY_SD,
    PRICE,
    OUTCOMES,
    TOKENS_USED,
    SPENT,
    UNPRICED,
    BASELINE_USD,
    COMPARED_USD,
    ROUTING_COST,
    ROUTING_LATENCY,
    FAILED_ATTEMPTS,
    FALLBACKS,
    BREAKER_OPEN,
    TOKEN_USAGE,
    OPERATION_DURATION,
    FIRST_TOKEN,
    SERVER_DURATION,
    FEEDBACK,
    REPEATED,
    CAPPED,
    BUDGET_EXCEEDED,
    REWARD,
    JUDGED,
    NOT_JUDGED,
    JUDGE_SPENT,
    POSITION,
    CAUGHT_UP,
    DRIFTED,
    DRIFT,
    SET_ASIDE,
    SNAPSHOTS_REFUSED,
    CACHE_HITS,
    CACHE_MISSES,
    FEATURES_HITS,
    FEATURES_MISSES,
    QUEUE,
    SPOOL,
    DEGRADED,
    TELEMETRY_QUEUE,
    DROPPED,
    UNCOUNTED,
    WORKERS,
    CPU,
    VIRTUAL,
    RESIDENT,
    STARTED,
    OPEN_FDS,
    MOST_FDS,
    GC_COLLECTED,
    GC_UNCOLLECTABLE,
    GC_RUNS,
)

# ------------------------------------------------------------------ labels

MOST_VALUES = {"model": 100, n.REQUEST_MODEL: 100, "key": 200, n.ERROR: 40, "code": 60}
OTHER_VALUES = 30
OTHER = "other"
"""What a label says once it has had as many values as it may have."""


def most_values(label: str) -> int:
    """Of a label within one process, so that no caller can make series without end."""
    return MOST_VALUES.get(label, OTHER_VALUES)


def reference_rows() -> list[str]:
    """One row of a Markdown table for each metric."""
    return [
        f"| `{m.exposed_name}` | `{m.name}` | {m.kind} | "
        f"{', '.join(f'`{exposed_label(label)}`' for label in m.labels)} | {m.help} |"
        for m in METRICS
    ]
