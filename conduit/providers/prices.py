"""List prices, from the table that genai-prices bundles."""

from datetime import datetime

from conduit.routing.catalogue import Price

SAMPLE_TOKENS = 1000
"""A plain request: small enough for the first of a price's tiers."""

KEEPS_NOTHING = frozenset({"anthropic"})
"""Who keeps no prompt at hand behind an endpoint that speaks OpenAI's API, whatever the price would be."""


TIERS = ("flex", "priority")
"""Service tiers that the table has prices for, of some models."""


def list_price(provider_id: str, model_ref: str, at: datetime) -> Price | None:
    """None when the table does not know the model, or says nothing that costs: unknown is never free."""
    # Imported here because it takes 0.15 s and an HTTP client, which the sandbox does without.
    from genai_prices import Usage
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import PriceContext

    def usd_per_mtok(usage: Usage, context: PriceContext | None = None) -> float:
        calculation = get_snapshot().calc(usage, model_ref, provider_id, None, at, context)
        return float(calculation.total_price) * 1e6 / SAMPLE_TOKENS

    answer = Usage(output_tokens=SAMPLE_TOKENS)
    try:
        asked, answered = usd_per_mtok(Usage(input_tokens=SAMPLE_TOKENS)), usd_per_mtok(answer)
        cached, written = (
            usd_per_mtok(Usage(input_tokens=SAMPLE_TOKENS, **{f"cache_{name}_tokens": SAMPLE_TOKENS}))
            for name in ("read", "write")
        )
        tiers = {tier: usd_per_mtok(answer, {"service_tier": tier}) for tier in TIERS}
    except (LookupError, ValueError):
        return None
    if asked + answered <= 0:
        return None
    factors = tuple((tier, usd / answered) for tier, usd in tiers.items() if answered and usd != answered)
    kept = None if provider_id in KEEPS_NOTHING else cached
    return Price(asked, answered, kept, written if written > asked else None, factors)
