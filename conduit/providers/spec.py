"""What is known of one server before it is asked."""

from dataclasses import dataclass, field, replace

from conduit.providers.address import base_of, check_headers, check_one_authorization, checked_key
from conduit.providers.network import SYSTEMS, Network

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
    network: Network = SYSTEMS


def checked(spec: ProviderSpec, *, address: str, key: str, headers: str) -> ProviderSpec:
    """The same with its key stripped. `address`, `key` and `headers` are where the operator wrote them: they are named
    in the ConfigurationError that is raised for what no request could be made of."""
    base = base_of(spec.base_url, spec.query, place=address)
    stripped = checked_key(spec.api_key, place=key)
    check_headers(spec.headers, place=headers)
    check_one_authorization(base, stripped, spec.headers, address=address, key_place=key)
    return replace(spec, api_key=stripped)
