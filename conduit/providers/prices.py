"""List prices, from the table that genai-prices bundles."""

from datetime import datetime

from conduit.core.catalogue import Price

SAMPLE_TOKENS = 1000
"""A plain request: small enough for the first of a price's tiers."""

KEEPS_NOTHING = frozenset({"anthropic"})
"""Who keeps no prompt at hand behind an endpoint that speaks OpenAI's API, whatever the price would be."""


def list_price(provider_id: str, model_ref: str, at: datetime) -> Price | None:
    """None when the table does not know the model, or says nothing that costs: unknown is never free."""
    # Imported here because it takes 0.15 s and an HTTP client, which the sandbox does without.
    from genai_prices import Usage
    from genai_prices.data_snapshot import get_snapshot

    def usd_per_mtok(usage: Usage) -> float:
        calculation = get_snapshot().calc(usage, model_ref, provider_id, None, at)
        return float(calculation.total_price) * 1e6 / SAMPLE_TOKENS

    try:
        asked, answered, cached = (
            usd_per_mtok(Usage(input_tokens=SAMPLE_TOKENS)),
            usd_per_mtok(Usage(output_tokens=SAMPLE_TOKENS)),
            usd_per_mtok(Usage(input_tokens=SAMPLE_TOKENS, cache_read_tokens=SAMPLE_TOKENS)),
        )
    except (LookupError, ValueError):
        return None
    kept = None if provider_id in KEEPS_NOTHING else cached
    return Price(asked, answered, kept) if asked + answered > 0 else None
