"""What conduit.toml declares, as providers and models."""

from collections.abc import Mapping

from conduit.core.config import Settings
from conduit.core.config_tables import ModelTable, ProviderTable
from conduit.providers.address import base_of
from conduit.providers.discovery import Declared
from conduit.providers.network import Network, network
from conduit.providers.spec import ProviderSpec, checked
from conduit.routing.catalogue import Model, Price
from conduit.routing.errors import ConfigurationError


def declared(settings: Settings, environ: Mapping[str, str]) -> Declared:
    """What conduit.toml says, with the keys that it names."""
    return Declared(
        providers=[_provider(name, table, environ) for name, table in settings.providers.items()],
        models=[_model(table) for table in settings.models],
    )


def _provider(name: str, table: ProviderTable, environ: Mapping[str, str]) -> ProviderSpec:
    place = f"providers.{name}"
    key = environ.get(table.api_key_env, "").strip() if table.api_key_env else None
    if table.api_key_env and not key:
        raise ConfigurationError(f"{place}.api_key_env: {table.api_key_env} is not set")
    spec = ProviderSpec(
        name,
        table.base_url,
        key,
        headers=tuple(table.headers.items()),
        query=tuple(table.query.items()),
        prices=table.prices,
        usage_in_streams=table.usage_in_streams,
        network=_network(table, environ, place),
    )
    key_place = f"{place}.api_key_env: {table.api_key_env}"
    return checked(spec, address=f"{place}.base_url", key=key_place, headers=f"{place}.headers")


def _network(table: ProviderTable, environ: Mapping[str, str], place: str) -> Network:
    return network(
        environ,
        base_of(table.base_url, place=f"{place}.base_url"),
        proxy=table.proxy,
        ca_file=table.ca_file,
        client_cert=table.client_cert,
        client_key=table.client_key,
        place=place,
    )


def _model(table: ModelTable) -> Model:
    prices = (table.input_usd_per_mtok, table.output_usd_per_mtok)
    if prices.count(None) == 1:
        raise ConfigurationError(
            f"models: {table.name}: give both input_usd_per_mtok and output_usd_per_mtok, or neither"
        )
    price = None
    if prices[0] is not None and prices[1] is not None:
        through_cache = (table.cached_usd_per_mtok, table.written_usd_per_mtok)
        price = Price(prices[0], prices[1], *through_cache, tuple(table.service_tiers.items()))
    abilities = None if table.abilities is None else frozenset(table.abilities)
    return Model(table.name, table.provider, table.upstream, price, table.context_window, abilities)
