"""The tables of conduit.toml: providers, models, and what each key may spend."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from conduit.core.budget import Budget, Caps
from conduit.routing.catalogue import ABILITIES
from conduit.routing.query import PRESETS, Preferences

STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)
"""Values out of mounted secrets end in a newline."""


def _are_hosts(hosts: str) -> str:
    for host in (part.strip() for part in hosts.split(",") if part.strip()):
        if re.fullmatch(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*", host) is None:
            raise ValueError(f"{host!r} is no name of a host: write it without a scheme, a port or a path")
    return hosts


Hosts = Annotated[str, AfterValidator(_are_hosts)]
"""Names, separated by commas."""
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ModelName = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
"""It goes into headers: printable ASCII without blanks."""


class ProviderTable(BaseModel):
    """`[providers.NAME]` in conduit.toml: any server that speaks OpenAI's API."""

    model_config = STRICT

    base_url: str = Field(pattern=r"^https?://\S+$")
    api_key_env: str | None = None
    """The environment variable that holds the key; keys are never written in the file."""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    prices: str | None = None
    """The provider whose list prices apply, as genai-prices calls it."""
    usage_in_streams: bool = True
    """False for a server that refuses `stream_options`: then token counts of streams are estimates."""
    proxy: str | None = Field(default=None, repr=False)
    """In the place of HTTPS_PROXY and its kin; "" is none."""
    ca_file: str = ""
    """Certificates to trust in the place of the system's, as PEM."""
    client_cert: str = ""
    """To show to a server that asks for one, as PEM."""
    client_key: str = ""
    """Empty: it stands in client_cert, too."""


class ModelTable(BaseModel):
    """`[[models]]` in conduit.toml: a provider that has some offers these, and not what it is known for."""

    model_config = STRICT

    name: ModelName
    provider: str
    upstream: str = ""
    input_usd_per_mtok: Dollars | None = None
    output_usd_per_mtok: Dollars | None = None
    cached_usd_per_mtok: Dollars | None = None
    """Of input that the provider still has at hand; empty: no less than any other."""
    written_usd_per_mtok: Dollars | None = None
    """Of input that the provider puts into its cache; empty: as any other."""
    service_tiers: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """How many times the price each service tier costs: `{ flex = 0.5, priority = 2.0 }`."""
    context_window: int | None = Field(default=None, gt=0)
    abilities: list[str] | None = None

    @field_validator("abilities")
    @classmethod
    def _known(cls, abilities: list[str] | None) -> list[str] | None:
        unknown = sorted(set(abilities or ()) - ABILITIES)
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is not one of {', '.join(sorted(ABILITIES))}")
        return abilities


class WeightsTable(BaseModel):
    """Explicit preferences in conduit.toml."""

    model_config = STRICT

    quality: float = Field(1.0, ge=0, le=1000)
    cost: float = Field(0.0, ge=0, le=1000)
    latency: float = Field(0.0, ge=0, le=1000)


def known_preset(name: str) -> str:
    """Raises ValueError."""
    if name not in PRESETS:
        raise ValueError(f"{name!r} is not one of {', '.join(PRESETS)}")
    return name


class KeyTable(BaseModel):
    """`[keys.NAME]` in conduit.toml: what the key of that name is to spend and may spend, and what its requests prefer
    that say nothing of it; `api_key` is the setting API_KEY."""

    model_config = STRICT

    preferences: str | WeightsTable | None = None
    budget_usd_per_request: Dollars | None = Field(None, gt=0)
    budget_usd_per_day: Dollars | None = Field(None, gt=0)
    budget_usd_per_month: Dollars | None = Field(None, gt=0)
    cap_usd_per_day: Dollars | None = None
    cap_usd_per_month: Dollars | None = None

    @field_validator("preferences")
    @classmethod
    def _preset(cls, given: str | WeightsTable | None) -> str | WeightsTable | None:
        return known_preset(given) if isinstance(given, str) else given

    @property
    def wanted(self) -> Preferences | None:
        if isinstance(self.preferences, WeightsTable):
            return Preferences(**self.preferences.model_dump())
        return None if self.preferences is None else Preferences.preset(self.preferences)

    @property
    def budget(self) -> Budget:
        return Budget(self.budget_usd_per_request, self.budget_usd_per_day, self.budget_usd_per_month)

    @property
    def caps(self) -> Caps:
        return Caps(self.cap_usd_per_day, self.cap_usd_per_month)
