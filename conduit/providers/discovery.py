"""Which servers and models there are: by the keys in the environment, and by what was declared."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from yarl import URL

from conduit.core.errors import UpstreamError
from conduit.providers.address import base_of
from conduit.providers.known import KNOWN_SERVERS, KnownServer
from conduit.providers.listing import list_models
from conduit.providers.network import network
from conduit.providers.prices import list_price
from conduit.providers.spec import ProviderSpec, checked
from conduit.routing.catalogue import Model
from conduit.routing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Declared:
    """What conduit.toml says. It wins over what the environment reveals."""

    providers: Sequence[ProviderSpec] = ()
    models: Sequence[Model] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    providers: tuple[ProviderSpec, ...]
    declared: tuple[Model, ...]
    offers: Mapping[str, tuple[Model, ...]]
    """What each of the others offers, by the provider's name."""
    asked: tuple[ProviderSpec, ...]
    """Who was asked for it, and can be asked again."""
    silent: Mapping[str, str]
    """Servers that did not tell which models they have, with the reason: worth a line in the log."""

    @property
    def models(self) -> tuple[Model, ...]:
        """A name that is taken stays with who has it: no server's list stops a start."""
        taken = {model.name for model in self.declared}
        offered: dict[str, Model] = {}
        for model in (each for offer in self.offers.values() for each in offer):
            offered.setdefault(model.name, model)
        return (*self.declared, *(model for name, model in offered.items() if name not in taken))

    def may_come(self, name: str) -> bool:
        """Whether a model of this name may be one of a server that has not told of any yet."""
        return any(name.startswith(f"{spec.name}/") and not self.offers[spec.name] for spec in self.asked)


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
    sold = {spec.name: seller for spec in specs.values() if (seller := _seller(spec)) is not None}
    asked = tuple(spec for spec in specs.values() if spec.name not in settled and spec.name not in sold)
    answers = dict(zip((spec.name for spec in asked), await asyncio.gather(*map(_told, asked)), strict=True))
    offers = {
        name: answers[name] if name in answers else _sold(spec, sold[name])
        for name, spec in specs.items()
        if name not in settled
    }
    told = {name: offer for name, offer in offers.items() if not isinstance(offer, UpstreamError)}
    return Discovery(
        providers=tuple(specs.values()),
        declared=tuple(_priced(model, specs[model.provider], at) for model in declared.models),
        offers={name: tuple(_priced(m, specs[name], at) for m in told.get(name, ())) for name in offers},
        asked=asked,
        silent={name: str(offer) for name, offer in offers.items() if isinstance(offer, UpstreamError)},
    )


async def asked_again(spec: ProviderSpec, *, at: datetime) -> tuple[Model, ...]:
    """What it offers now, with list prices of `at`. Raises UpstreamError."""
    models = await _asked(spec)
    # The table of prices takes long to read for the first time.
    return await asyncio.to_thread(lambda: tuple(_priced(model, spec, at) for model in models))


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
    place = server.url or server.name
    base_url = _with_path(server, address) if address else server.base_url or ""
    through = network(environ, base_of(base_url, place=place), place=place)
    spec = ProviderSpec(server.name, base_url, key, usage_in_streams=server.usage_in_streams, network=through)
    return checked(spec, address=place, key=server.key or "", headers="")


def _with_path(server: KnownServer, address: str) -> str:
    url = base_of(address, place=server.url or server.name)
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


def _sold(spec: ProviderSpec, seller: KnownServer) -> tuple[Model, ...]:
    return tuple(_model(spec, known.upstream, known.context_window, known.abilities) for known in seller.models)


async def _asked(spec: ProviderSpec) -> tuple[Model, ...]:
    return tuple(_model(spec, each.upstream, each.context_window, each.abilities) for each in await list_models(spec))


async def _told(spec: ProviderSpec) -> tuple[Model, ...] | UpstreamError:
    try:
        return await _asked(spec)
    except UpstreamError as error:
        return error


def _model(spec: ProviderSpec, upstream: str, window: int | None, abilities: frozenset[str] | None) -> Model:
    return Model(f"{spec.name}/{upstream}", spec.name, upstream, None, window, abilities)


def _priced(model: Model, spec: ProviderSpec, at: datetime) -> Model:
    if model.price is not None or spec.prices is None:
        return model
    return replace(model, price=list_price(spec.prices, model.upstream_name, at))
