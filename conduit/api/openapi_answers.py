"""Views -> JSON Schema: the shapes that conduit/api/views.py and key_routes.py give, for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def some(schema: Schema) -> Schema:
    """It, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def thing(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object; more fields may come, and no client may break by them."""
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def page(of: str, **more: Schema) -> Schema:
    return thing({"object": {"const": "list"}, "data": array(ref(of)), **more})


ATTEMPT = thing({"model": STRING, "latency_s": NUMBER, "error": some(STRING), "counts": BOOLEAN})
CANDIDATE = thing(
    {
        "model": STRING,
        "probability": SHARE,
        "utility": NUMBER,
        "quality": NUMBER,
        "quality_sd": NUMBER,
        "cost_usd": some(NUMBER),
        "latency_s": some(NUMBER),
    }
)
DECISION = {
    "id": STRING,
    "object": {"const": "decision"},
    "created": NUMBER,
    "model": STRING,
    "propensity": SHARE,
    "why": STRING,
    "alternatives": array(STRING),
    "candidates": array(ref("Candidate")),
    "removed": mapping(STRING),
    "policy": STRING,
    "routed": BOOLEAN,
    "features": STRING,
    "domain": STRING,
    "input_tokens": COUNT,
    "shadow_price": NUMBER,
    "user_id": some(STRING),
    "session_id": some(STRING),
    "request_id": some(STRING),
}
KEY = {
    "object": {"const": "key"},
    "id": STRING,
    "name": STRING,
    "scopes": array(STRING),
    "created_s": NUMBER,
    "expires_s": some(NUMBER),
    "revoked_s": some(NUMBER),
    "limits": thing(dict.fromkeys(("requests_per_minute", "tokens_per_minute", "concurrent"), some(COUNT))),
    "secrets": array(thing({"fingerprint": STRING, "expires_s": some(NUMBER)})),
}
SAVINGS = {"against": some(STRING), "usd_per_request": some(NUMBER)}
SAVINGS_MORE = {"why": STRING, "interval": array(NUMBER), "level": SHARE, "requests": COUNT}
METADATA = thing(
    {
        "cost": some(NUMBER),
        "latency": NUMBER,
        "tokens": thing({"input": some(COUNT), "output": some(COUNT)}),
        "routing_confidence": SHARE,
        "reasoning": STRING,
        "attempts": array(ref("Attempt")),
        "response_id": some(STRING),
    }
)

ANSWERS: Mapping[str, Schema] = {
    "Attempt": ATTEMPT,
    "Candidate": CANDIDATE,
    "ChatAnswer": {"type": "object", "description": "OpenAI's, as the provider sent it."},
    "Embeddings": {"type": "object", "description": "OpenAI's, as the provider sent it."},
    "CompleteAnswer": thing(
        {
            "id": STRING,
            "query_id": STRING,
            "model": STRING,
            "data": thing({"content": STRING}),
            "metadata": METADATA,
        }
    ),
    "Decision": thing(DECISION),
    "Record": thing(
        {**DECISION, "outcome": some({"type": "object"}), "feedback": some({"type": "object"})},
        {"prompt_hash": STRING, "prompt": STRING},
    ),
    "Decisions": page("Record", has_more=BOOLEAN),
    "FeedbackAnswer": thing(
        {
            "id": STRING,
            "response_id": STRING,
            "quality": some(SHARE),
            "revision": COUNT,
            "weight": NUMBER,
            "taught_weight": NUMBER,
            "message": STRING,
        }
    ),
    "Model": thing(
        {"id": STRING, "object": {"const": "model"}, "created": COUNT, "owned_by": STRING}, {"alias_of": STRING}
    ),
    "Models": page("Model", models=array(STRING), default_model=STRING),
    "Savings": thing(SAVINGS, SAVINGS_MORE),
    "Stats": thing(
        {
            "total_queries": COUNT,
            "total_cost": NUMBER,
            "unpriced": COUNT,
            "cached": COUNT,
            "avg_latency": some(NUMBER),
            "model_distribution": mapping(COUNT),
            "quality_metrics": thing({"avg_quality": some(NUMBER), "rated": COUNT, "success_rate": some(SHARE)}),
            "age_s": NUMBER,
            "set_aside": COUNT,
            "savings": thing({**SAVINGS, "best": ref("Savings"), "age_s": NUMBER}, SAVINGS_MORE),
            "drift": array(
                thing({"model": STRING, "signal": STRING, "since": NUMBER, "shift": NUMBER, "z": some(NUMBER)})
            ),
        },
        {
            "budgets": array(
                thing(
                    {
                        "account": STRING,
                        "period": STRING,
                        "budget_usd": NUMBER,
                        "spent_usd": NUMBER,
                        "requests": COUNT,
                    }
                )
            ),
            "judge": thing(
                {"model": STRING, "share": SHARE, "spent_today_usd": NUMBER, "budget_usd_per_day": some(NUMBER)}
            ),
        },
    ),
    "Key": thing(KEY),
    "KeyWithSecret": thing({**KEY, "secret": STRING}),
    "Keys": page("Key"),
    "Health": thing(
        {"status": {"enum": ["healthy", "unhealthy"]}, "timestamp": NUMBER},
        {"checks": mapping(STRING)},
    ),
    "OpenAPI": {"type": "object", "description": "This document."},
}
