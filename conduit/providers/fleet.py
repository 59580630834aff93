"""Every provider that will be asked, with the catalogue of what they offer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from conduit.core.catalogue import Catalogue
from conduit.core.errors import ConfigurationError
from conduit.core.protocols import Provider
from conduit.providers.discovery import Declared, ProviderSpec, discover
from conduit.providers.openai import OpenAIProvider
from conduit.providers.sandbox import SandboxProvider, sandbox_models
from conduit.providers.session import SharedSession

SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Fleet:
    catalogue: Catalogue
    providers: Mapping[str, Provider]
    silent: Mapping[str, str]
    """Servers that did not say which models they have -> why."""
    session: SharedSession
    """Of all providers; to be closed after them."""


async def gather_fleet(
    environ: Mapping[str, str],
    declared: Declared,
    *,
    sandbox: Literal["auto", "on", "off"],
    sandbox_time_scale: float,
    now_s: Callable[[], float],
) -> Fleet:
    """Real models where keys or declarations reveal some; the sandbox's where there are none, or it was asked for.

    Raises ConfigurationError when that leaves no model at all.
    """
    found = await discover(environ, declared, at=datetime.fromtimestamp(now_s(), UTC))
    session = SharedSession()
    providers: dict[str, Provider] = {spec.name: _provider(spec, session) for spec in found.providers}
    models = list(found.models)
    if sandbox == "on" or (sandbox == "auto" and not providers):
        providers[SANDBOX] = SandboxProvider(time_scale=sandbox_time_scale, now_s=now_s)
        models += sandbox_models()
    if not models:
        silent = "".join(f"; {name} did not list its models ({why})" for name, why in found.silent.items())
        raise ConfigurationError(f"no model is configured{silent}. Set OPENAI_API_KEY or another, or SANDBOX=on")
    return Fleet(Catalogue(models), providers, found.silent, session)


def _provider(spec: ProviderSpec, session: SharedSession) -> Provider:
    return OpenAIProvider(
        spec.base_url,
        spec.api_key,
        headers=spec.headers,
        query=spec.query,
        usage_in_streams=spec.usage_in_streams,
        session=session,
    )
