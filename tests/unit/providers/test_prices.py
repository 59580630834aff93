"""List prices are dollars per million tokens, or unknown; never nothing."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from conduit.providers.prices import list_price
from conduit.routing.catalogue import Price

AT = datetime(2026, 11, 1, tzinfo=UTC)


def plain(price: Price | None) -> Price | None:
    """Without what its service tiers and its cache cost."""
    return price and replace(price, tiers=(), written_usd_per_mtok=None)


def test_a_known_price() -> None:
    assert plain(list_price("openai", "gpt-4o-mini", AT)) == Price(0.15, 0.60, 0.075)


def test_the_prices_of_service_tiers_are_so_many_times_the_price() -> None:
    price = list_price("openai", "gpt-5-mini", AT)
    assert price is not None
    assert dict(price.tiers) == pytest.approx({"flex": 0.5, "priority": 1.8})
    assert price.cost_usd(1e6, 1e6, tier="flex") == pytest.approx(1.125)
    assert price.cost_usd(1e6, 1e6, tier="unheard_of") == pytest.approx(2.25)


def test_what_is_put_into_a_cache_may_cost_more() -> None:
    price = list_price("openai", "gpt-6-luna", AT)
    assert price is not None
    assert price.written_usd_per_mtok == pytest.approx(0.125)
    assert price.cost_usd(1e6, 0, written_tokens=1e6) == price.most_usd(1e6, 0) == pytest.approx(0.125)


def test_a_tiered_price_is_that_of_its_first_tier() -> None:
    price = list_price("google", "gemini-2.5-pro", AT)
    assert plain(price) == Price(1.25, 10.0, 0.125)


def test_a_price_is_that_of_its_time() -> None:
    """o3 became cheaper on 10 June 2025."""
    before, after = (list_price("openai", "o3", datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 7))
    assert plain(before) == Price(10.0, 40.0, 0.5)
    assert plain(after) == Price(2.0, 8.0, 0.5)


def test_azure_sells_openais_models() -> None:
    assert plain(list_price("azure", "gpt-4o-mini", AT)) == Price(0.15, 0.60, 0.075)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("no-such-provider", "gpt-4o"),
        ("openrouter", "gemini-2.0-flash-exp:free"),
        ("", ""),
    ],
)
def test_unknown_and_free_are_both_unknown(provider: str, model: str) -> None:
    assert list_price(provider, model, AT) is None


def test_the_table_is_not_loaded_before_it_is_asked() -> None:
    code = "import sys, conduit.providers.discovery; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_who_keeps_no_prompt_at_hand_has_no_price_for_it() -> None:
    price = list_price("anthropic", "claude-haiku-4-5", AT)
    assert price is not None
    assert price.cached_usd_per_mtok is None
