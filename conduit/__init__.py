"""Conduit: a gateway that learns which model should answer which prompt.

The library is imported when it is asked for: `import conduit` alone costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conduit.routing.catalogue import Catalogue, Model, Price
    from conduit.routing.decision import Decision, Observation
    from conduit.routing.query import Preferences, Query, Requirements
    from conduit.routing.router import Router

__version__ = "0.1.0"
__all__ = [
    "Catalogue",
    "Decision",
    "Model",
    "Observation",
    "Preferences",
    "Price",
    "Query",
    "Requirements",
    "Router",
    "__version__",
]

_HOME = {
    "Catalogue": "catalogue",
    "Model": "catalogue",
    "Price": "catalogue",
    "Decision": "decision",
    "Observation": "decision",
    "Preferences": "query",
    "Query": "query",
    "Requirements": "query",
    "Router": "router",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'conduit' has no attribute {name!r}")
    return getattr(import_module(f"conduit.routing.{_HOME[name]}"), name)
