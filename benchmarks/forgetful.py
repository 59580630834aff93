"""The gateway as it is served, with its ledger in memory: uvicorn benchmarks.forgetful:app."""

from collections.abc import Mapping

import conduit.api.app as served
from conduit.api.sources import read_environ, read_settings
from conduit.assemble import _assemble
from conduit.assemble.conduit import Conduit
from conduit.assemble.stores import in_memory
from conduit.core.config import Settings
from conduit.core.events import nobody
from conduit.observability.setup import Telemetry


async def assemble(settings: Settings, environ: Mapping[str, str], *, telemetry: Telemetry | None = None) -> Conduit:
    """As conduit.assemble's own, but for where everything is kept."""
    tracer = None if telemetry is None else telemetry.tracer
    return await _assemble(settings, environ, in_memory(), telemetry or nobody, tracer)


served.assemble = assemble  # type: ignore[attr-defined]  # what its lifespan calls
environ = read_environ()
app = served.create_app(read_settings(environ), environ)
