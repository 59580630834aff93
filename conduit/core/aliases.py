"""Names of the operator's choice, which callers may write in the place of a model's name or of `auto`."""

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import AfterValidator

from conduit.core.config_tables import ModelName
from conduit.routing.catalogue import AUTO, Catalogue
from conduit.routing.errors import ConfigurationError

Aliases = Mapping[str, str]


def _not_auto(name: str) -> str:
    if name == AUTO:
        raise ValueError(f"{AUTO!r} asks Conduit to choose; give the alias another name")
    return name


AliasTable = dict[Annotated[ModelName, AfterValidator(_not_auto)], ModelName]
"""`[aliases]` in conduit.toml."""


def check_aliases(aliases: Aliases, catalogue: Catalogue, *, may_come: Callable[[str], bool]) -> None:
    """Raises ConfigurationError that names the alias. A model that `may_come` need not be there yet."""
    for alias, target in aliases.items():
        if alias in catalogue:
            raise ConfigurationError(f"aliases.{alias}: a model has this name; give the alias another one")
        if target in aliases:
            raise ConfigurationError(f"aliases.{alias}: {target!r} is an alias itself; name a model, or {AUTO!r}")
        if target != AUTO and target not in catalogue and not may_come(target):
            raise ConfigurationError(
                f"aliases.{alias}: no model is called {target!r}; name {AUTO!r}, or a model of GET /v1/models"
            )
