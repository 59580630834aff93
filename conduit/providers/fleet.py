"""Every provider that will be asked, with the catalogue of what they offer."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from conduit.core.protocols import Provider
from conduit.providers.discovery import Declared, Discovery, discover
from conduit.providers.openai import OpenAIProvider
from conduit.providers.prices import list_price
from conduit.providers.sandbox import SandboxProvider, sandbox_models
from conduit.providers.session import KEEP_ALIVE_S, SharedSession
from conduit.providers.spec import ProviderSpec
from conduit.routing.catalogue import Catalogue, Model, Price
from conduit.routing.errors import ConfigurationError

SANDBOX = "sandbox"
NOTHING = Discovery((), (), {}, (), {})


def unpriced(_provider: str, _model: str) -> None:
    """Nobody's prices are known."""


@dataclass(frozen=True, slots=True)
class Fleet:
    catalogue: Catalogue
    providers: Mapping[str, Provider]
    found: Discovery = NOTHING
    """What the servers said at the start."""
    simulated: tuple[Model, ...] = ()
    """The sandbox's, after all others in the catalogue."""
    sessions: Collection[SharedSession] = ()
    """Of all providers; to be closed after them."""
    list_price: Callable[[str, str], Price | None] = unpriced
    """Of a provider's model, by the provider's name for it; None where it is not known."""

    @property
    def is_simulated(self) -> bool:
        """Whether every model is the sandbox's."""
        return 0 < len(self.catalogue) == len(self.simulated)


async def gather_fleet(
    environ: Mapping[str, str],
    declared: Declared,
    *,
    sandbox: Literal["auto", "on", "off"],
    sandbox_time_scale: float,
    keep_alive_s: float = KEEP_ALIVE_S,
    now_s: Callable[[], float],
) -> Fleet:
    """Real models where keys or declarations reveal some; the sandbox's where there are none, or it was asked for.

    Raises ConfigurationError when that leaves no model at all, and nobody of whom one may still come.
    """
    at = datetime.fromtimestamp(now_s(), UTC)
    found = await discover(environ, declared, at=at)
    ways = {spec.network for spec in found.providers}
    sessions = {way: SharedSession(keep_alive_s=keep_alive_s, network=way) for way in ways}
    providers: dict[str, Provider] = {spec.name: _provider(spec, sessions[spec.network]) for spec in found.providers}
    simulated: tuple[Model, ...] = ()
    if sandbox == "on" or (sandbox == "auto" and not providers):
        providers[SANDBOX] = SandboxProvider(time_scale=sandbox_time_scale, now_s=now_s)
        simulated = tuple(sandbox_models())
    catalogue = Catalogue((*found.models, *simulated))
    if not len(catalogue) and not found.asked:
        raise ConfigurationError("no model is configured. Set OPENAI_API_KEY or another, or SANDBOX=on")
    prices = _list_prices(found.providers, at)
    return Fleet(catalogue, providers, found, simulated, tuple(sessions.values()), prices)


def _list_prices(specs: Iterable[ProviderSpec], at: datetime) -> Callable[[str, str], Price | None]:
    sellers = {spec.name: spec.prices for spec in specs if spec.prices is not None}

    @lru_cache(maxsize=256)
    def price(provider: str, model: str) -> Price | None:
        seller = sellers.get(provider)
        return None if seller is None else list_price(seller, model, at)

    return price


def _provider(spec: ProviderSpec, session: SharedSession) -> Provider:
    return OpenAIProvider(
        spec.base_url,
        spec.api_key,
        headers=spec.headers,
        query=spec.query,
        usage_in_streams=spec.usage_in_streams,
        session=session,
    )
