"""What the environment reveals, and how it goes together with what was declared."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from conduit.providers.discovery import Declared, Discovery, discover, revealed
from conduit.providers.known import KNOWN_SERVERS
from conduit.providers.openai import OpenAIProvider
from conduit.providers.spec import ProviderSpec
from conduit.routing.catalogue import Catalogue, Model, Price
from conduit.routing.errors import ConfigurationError

AT = datetime(2026, 11, 1, tzinfo=UTC)
KEY = "sk-very-secret"
SOLD = [server for server in KNOWN_SERVERS if server.models]
EVERYTHING = {server.key: KEY for server in SOLD if server.key} | {
    "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com/"
}


async def found(environ: dict[str, str], *declared: ProviderSpec | Model) -> Discovery:
    providers = [item for item in declared if isinstance(item, ProviderSpec)]
    models = [item for item in declared if isinstance(item, Model)]
    return await discover(environ, Declared(providers, models), at=AT)


async def test_nothing_reveals_nothing() -> None:
    assert await found({"OPENAI_API_KEY": " ", "PATH": "/bin"}) == Discovery((), (), {}, (), {})


@pytest.mark.parametrize("server", SOLD, ids=lambda server: server.name)
async def test_each_key_reveals_models_with_a_price(server: object) -> None:
    name = server.name  # type: ignore[attr-defined]
    environ = {key: value for key, value in EVERYTHING.items() if key.startswith((name.upper(), server.key))}  # type: ignore[attr-defined]
    discovery = await found(environ)
    assert [spec.name for spec in discovery.providers] == [name]
    assert len(discovery.models) >= 2
    for model in discovery.models:
        assert model.name == f"{name}/{model.upstream_name}"
        assert model.provider == name
        assert model.price
        assert model.price.input_usd_per_mtok > 0
        assert model.price.output_usd_per_mtok > 0
        assert model.context_window
        assert model.abilities


async def test_all_keys_together_make_one_catalogue() -> None:
    discovery = await found(EVERYTHING)
    assert len(Catalogue(discovery.models)) == sum(len(server.models) for server in SOLD)


def test_keys_and_what_may_hold_them_stay_out_of_the_repr() -> None:
    specs = [*revealed(EVERYTHING), ProviderSpec("x", f"http://u:{KEY}@h/v1", KEY, (("k", KEY),), (("k", KEY),))]
    assert KEY not in repr(specs)
    assert {spec.api_key for spec in specs} == {KEY}


@pytest.mark.parametrize("spec", revealed(EVERYTHING), ids=lambda spec: spec.name)
async def test_every_revealed_server_can_be_built(spec: ProviderSpec) -> None:
    await OpenAIProvider(spec.base_url, spec.api_key).close()


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://a.b"}, "https://a.b/openai/v1"),
        ({"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://a.b/openai/v1/"}, "https://a.b/openai/v1"),
        ({"OLLAMA_BASE_URL": "http://localhost:11434"}, "http://localhost:11434/v1"),
        ({"OLLAMA_BASE_URL": "http://localhost:11434/v1"}, "http://localhost:11434/v1"),
        ({"VLLM_BASE_URL": "http://gpu:8000/", "VLLM_API_KEY": KEY}, "http://gpu:8000/v1"),
        ({"OPENAI_API_KEY": KEY}, "https://api.openai.com/v1"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://eu.api.openai.com/v1"}, "https://eu.api.openai.com/v1"),
        ({"OPENAI_BASE_URL": "http://proxy/openai"}, "http://proxy/openai"),
    ],
)
def test_addresses(environ: dict[str, str], address: str) -> None:
    assert [spec.base_url for spec in revealed(environ)] == [address]


def test_an_azure_address_alone_is_somebody_elses() -> None:
    assert revealed({"AZURE_OPENAI_ENDPOINT": "https://a.b"}) == ()


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"AZURE_OPENAI_API_KEY": KEY}, "AZURE_OPENAI_ENDPOINT"),
        ({"VLLM_API_KEY": KEY}, "VLLM_BASE_URL"),
        ({"OLLAMA_BASE_URL": "localhost:11434"}, "OLLAMA_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://[::1"}, "OPENAI_BASE_URL"),
    ],
)
def test_what_is_half_set_or_wrong_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        revealed(environ)
    assert KEY not in str(caught.value)


# ------------------------------------------------------------------ declared


def plain(price: Price | None) -> Price | None:
    """Without what its service tiers and its cache cost."""
    return price and replace(price, tiers=(), written_usd_per_mtok=None)


async def test_declared_models_take_the_place_of_known_ones() -> None:
    mine = Model("cheap", "openai", "gpt-5-nano")
    discovery = await found({"OPENAI_API_KEY": KEY}, mine)
    assert [model.name for model in discovery.models] == ["cheap"]
    assert plain(discovery.models[0].price) == Price(0.05, 0.40, 0.005)


async def test_a_declared_price_wins() -> None:
    mine = Model("cheap", "openai", "gpt-5-nano", price=Price(1.0, 2.0))
    assert (await found({"OPENAI_API_KEY": KEY}, mine)).models == (mine,)


async def test_an_unknown_model_has_no_price() -> None:
    mine = Model("mine", "openai", "ft-of-my-own")
    assert (await found({"OPENAI_API_KEY": KEY}, mine)).models[0].price is None


async def test_a_declared_server_takes_the_place_of_a_revealed_one() -> None:
    mine = ProviderSpec("openai", "https://api.openai.com/v1", KEY, headers=(("OpenAI-Organization", "acme"),))
    discovery = await found({"OPENAI_API_KEY": "sk-other"}, mine)
    assert discovery.providers == (replace(mine, prices="openai"),)
    assert len(discovery.models) > 1
    assert all(model.price for model in discovery.models)


async def test_a_declared_price_list_is_used() -> None:
    proxy = ProviderSpec("proxy", "http://proxy/v1", prices="anthropic")
    discovery = await found({}, proxy, Model("mine", "proxy", "claude-haiku-4-5"))
    assert plain(discovery.models[0].price) == Price(1.0, 5.0)


@pytest.mark.parametrize(
    ("base_url", "price"),
    [("https://eu.api.openai.com/v1", Price(0.15, 0.60, 0.075)), ("https://openai.com.example/v1", None)],
)
async def test_somebody_elses_server_has_prices_of_its_own(base_url: str, price: Price | None) -> None:
    mine = Model("mine", "openai", "gpt-4o-mini")
    discovery = await found({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": base_url}, mine)
    assert plain(discovery.models[0].price) == price


async def test_a_model_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        await found({}, Model("mine", "nobody"))
