"""Usage as servers told it in November 2026, and what it means."""

from typing import Any

import pytest

from conduit.gateway.request.usage import NOTHING, Usage, tier_of, usage_of

GOLDEN: list[tuple[str, dict[str, Any], Usage]] = [
    (
        "openai",
        {
            "usage": {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 192, "accepted_prediction_tokens": 0},
            }
        },
        Usage(2006, 300, 1920),
    ),
    (
        "openai's responses",
        {"usage": {"input_tokens": 75, "input_tokens_details": {"cached_tokens": 10}, "output_tokens": 86}},
        Usage(75, 86, 10),
    ),
    (
        "anthropic",
        {
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 200,
                "output_tokens": 5,
                "service_tier": "standard",
            }
        },
        Usage(1210, 5, 1000, 200),
    ),
    (
        "litellm before anthropic",
        {
            "usage": {
                "prompt_tokens": 1210,
                "completion_tokens": 5,
                "total_tokens": 1215,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 200,
                "prompt_tokens_details": {"cached_tokens": 1000, "cache_creation_tokens": 200},
            }
        },
        Usage(1210, 5, 1000, 200),
    ),
    (
        "deepseek",
        {
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 9,
                "total_tokens": 109,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            }
        },
        Usage(100, 9, 64),
    ),
    (
        "moonshot, in the choice",
        {"choices": [{"delta": {}, "usage": {"prompt_tokens": 19, "completion_tokens": 21, "cached_tokens": 10}}]},
        Usage(19, 21, 10),
    ),
    (
        "groq",
        {"choices": [], "x_groq": {"id": "r", "usage": {"prompt_tokens": 7, "completion_tokens": 9}}},
        Usage(7, 9),
    ),
    (
        "gemini, whose thoughts are in the total",
        {"usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1500}},
        Usage(1000, 500),
    ),
    (
        "xai, whose reasoning stands beside",
        {
            "usage": {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            }
        },
        Usage(32, 103),
    ),
    (
        "reasoning beside, and no total",
        {
            "usage": {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 94},
            }
        },
        Usage(32, 103),
    ),
    (
        "openrouter",
        {
            "usage": {
                "prompt_tokens": 14,
                "completion_tokens": 163,
                "total_tokens": 177,
                "cost": 0.00014,
                "cost_details": {"upstream_inference_cost": None},
                "is_byok": False,
            }
        },
        Usage(14, 163, cost_usd=0.00014),
    ),
    (
        "openrouter, with a key of one's own",
        {
            "usage": {
                "prompt_tokens": 14,
                "completion_tokens": 163,
                "cost": 0.5,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 10.0},
            }
        },
        Usage(14, 163, cost_usd=10.5),
    ),
    (
        "perplexity",
        {"usage": {"prompt_tokens": 8, "completion_tokens": 439, "cost": {"total_cost": 0.006}}},
        Usage(8, 439, cost_usd=0.006),
    ),
    ("embeddings", {"usage": {"prompt_tokens": 5, "total_tokens": 5}}, Usage(5, 0)),
    ("a total and the output", {"usage": {"completion_tokens": 5, "total_tokens": 15}}, Usage(10, 5)),
    (
        "a total that has what was in the cache beside",
        {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "cache_read_input_tokens": 100}},
        Usage(110, 5, 100),
    ),
    (
        "a total below the sum",
        {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3}},
        Usage(10, 5),
    ),
    ("nothing in it", {"usage": {"x": 1}}, NOTHING),
]


@pytest.mark.parametrize(("data", "usage"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_usage_is_read_in_the_shape_of_every_provider(data: dict[str, Any], usage: Usage) -> None:
    assert usage_of(data) == usage


@pytest.mark.parametrize("data", [{}, {"usage": None}, {"usage": []}, {"usage": 3, "choices": [None]}, {"choices": {}}])
def test_no_usage_is_none(data: dict[str, Any]) -> None:
    assert usage_of(data) is None


@pytest.mark.parametrize(("said", "tier"), [("flex", "flex"), ("on_demand", "on_demand"), (3, None), ("A b", None)])
def test_a_tier_is_one_plain_word(said: object, tier: str | None) -> None:
    assert tier_of({"service_tier": said}) == tier
