"""Which servers and models there are: by the keys in the environment, and by what was declared."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from yarl import URL

from conduit.core.catalogue import Model
from conduit.core.errors import ConfigurationError, UpstreamError
from conduit.providers.known import KNOWN_SERVERS, KnownServer
from conduit.providers.listing import list_models
from conduit.providers.prices import list_price

__all__ = ["Declared", "Discovery", "ProviderSpec", "discover", "list_models", "revealed"]

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """All that OpenAIProvider needs of one server. Whatever may hold a secret is kept out of its repr."""

    name: str
    base_url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    headers: Pairs = field(default=(), repr=False)
    query: Pairs = field(default=(), repr=False)
    prices: str | None = None
    """What genai-prices calls it; None: its prices are unknown."""
    usage_in_streams: bool = True


@dataclass(frozen=True, slots=True)
class Declared:
    """What conduit.toml says. It wins over what the environment reveals."""

    providers: Sequence[ProviderSpec] = ()
    models: Sequence[Model] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    providers: tuple[ProviderSpec, ...]
    models: tuple[Model, ...]
    silent: Mapping[str, str]
    """Servers that did not tell which models they have, with the reason: worth a line in the log."""


async def discover(environ: Mapping[str, str], declared: Declared, *, at: datetime) -> Discovery:
    """A server offers the models declared for it; without any, those it is known for; else those it names when asked.

    Prices that are not declared are list prices of `at`. Raises ConfigurationError that says what is wrong.
    """
    specs = {spec.name: _with_prices(spec) for spec in (*revealed(environ), *declared.providers)}
    for model in declared.models:
        if model.provider not in specs:
            raise ConfigurationError(
                f"models: {model.name!r} is of provider {model.provider!r}; declare it, or set its key"
            )
    settled = {model.provider for model in declared.models}
    open_specs = [spec for spec in specs.values() if spec.name not in settled]
    offers = dict(zip(open_specs, await asyncio.gather(*map(_offer, open_specs)), strict=True))
    offered = [model for offer in offers.values() if isinstance(offer, tuple) for model in offer]
    return Discovery(
        providers=tuple(specs.values()),
        models=tuple(_priced(model, specs[model.provider], at) for model in (*declared.models, *offered)),
        silent={spec.name: str(offer) for spec, offer in offers.items() if isinstance(offer, UpstreamError)},
    )


def revealed(environ: Mapping[str, str]) -> tuple[ProviderSpec, ...]:
    """The known servers whose variables are set; an empty variable is not. Raises ConfigurationError."""
    return tuple(spec for server in KNOWN_SERVERS if (spec := _revealed(server, environ)) is not None)


def _revealed(server: KnownServer, environ: Mapping[str, str]) -> ProviderSpec | None:
    key = environ.get(server.key or "", "").strip() or None
    address = environ.get(server.url or "", "").strip()
    if key and not address and server.base_url is None:
        raise ConfigurationError(f"{server.url}: {server.key} is set, but not where to send it; set both or neither")
    if key is None and (not address or server.name == "azure"):
        return None
    base_url = _with_path(server, address) if address else server.base_url or ""
    return ProviderSpec(server.name, base_url, key, usage_in_streams=server.usage_in_streams)


def _with_path(server: KnownServer, address: str) -> str:
    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(f"{server.url}: not a full URL; use http://host or https://host")
    return str(url).rstrip("/") + (server.path if url.path in {"", "/"} else "")


def _is_home(server: KnownServer, base_url: str) -> bool:
    """Whether this is the seller's own address: somebody else's server has other models, at other prices."""
    home = URL(server.base_url).host if server.base_url else None
    host = URL(base_url).host or ""
    return home is None or host == home or host.endswith(f".{home}")


def _seller(spec: ProviderSpec) -> KnownServer | None:
    """Who is known by this name and sells at this address."""
    sellers = (server for server in KNOWN_SERVERS if server.name == spec.name and server.models)
    return next((server for server in sellers if _is_home(server, spec.base_url)), None)


def _with_prices(spec: ProviderSpec) -> ProviderSpec:
    seller = _seller(spec)
    return spec if spec.prices or seller is None else replace(spec, prices=seller.prices)


async def _offer(spec: ProviderSpec) -> tuple[Model, ...] | UpstreamError:
    seller = _seller(spec)
    if seller is not None:
        return tuple(
            Model(
                f"{spec.name}/{known.upstream}",
                spec.name,
                known.upstream,
                None,
                known.context_window,
                known.abilities,
            )
            for known in seller.models
        )
    try:
        listed = await list_models(spec.base_url, spec.api_key)
    except UpstreamError as error:
        return error
    return tuple(
        Model(f"{spec.name}/{model.upstream}", spec.name, model.upstream, None, model.context_window)
        for model in listed
    )


def _priced(model: Model, spec: ProviderSpec, at: datetime) -> Model:
    if model.price is not None or spec.prices is None:
        return model
    return replace(model, price=list_price(spec.prices, model.upstream_name, at))
