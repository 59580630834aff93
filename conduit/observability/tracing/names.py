"""Names of attributes and spans, OpenTelemetry's where it has any; its conventions for GenAI still change."""

# ------------------------------------------------------------------ attributes

METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"
PATH = "url.path"
ERROR = "error.type"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105  the kind of token that is counted
KNOBS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
}
"""Numbers in a request's body -> attributes."""

DB_SYSTEM = "db.system.name"
DB_OPERATION = "db.operation.name"
DB_PROCEDURE = "db.stored_procedure.name"

REQUEST_ID = "conduit.request.id"
DECISION = "conduit.decision.id"
KEY = "conduit.key.id"
MODEL = "conduit.model"
DOMAIN = "conduit.domain"
PROPENSITY = "conduit.propensity"
POLICY = "conduit.policy"
ROUTED = "conduit.routed"
CANDIDATES = "conduit.candidates"
FEATURES = "conduit.features.version"
COST = "conduit.cost_usd"
OUTCOME = "conduit.outcome"
ATTEMPTS = "conduit.attempts"
DEGRADED = "conduit.degraded"
QUALITY = "conduit.feedback.quality"
SOURCE = "conduit.feedback.source"

UNIQUE = frozenset({REQUEST_ID, DECISION, RESPONSE_ID, PATH})
"""Whose values never come again."""

# ------------------------------------------------------------------ spans

SPAN_FEATURES = "conduit.features"


def step(name: str) -> str:
    """Of what the gateway announces to begin and to end: route, choose, feedback."""
    return f"conduit.{name}"


CHAT = "chat"
EMBEDDINGS = "embeddings"
"""A provider's span is the operation and the model: `chat gpt-5-mini`. A server's is method and route, a store's its
operation."""
