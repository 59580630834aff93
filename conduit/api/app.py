"""The ASGI application: `uvicorn conduit.api.app:app`."""

import gc
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit.api.envelope import answer_error
from conduit.api.middleware import setup_middleware
from conduit.api.routes import ROUTES
from conduit.api.sources import read_environ, read_settings
from conduit.assemble import assemble
from conduit.assemble.remarks import remarks, remarks_on_keys
from conduit.core.config import Settings
from conduit.core.protocols import Listener
from conduit.core.umask import private_by_default
from conduit.dashboard.pages import PAGES
from conduit.observability.logging.logs import setup_logs
from conduit.observability.logging.payloads import PayloadLog
from conduit.observability.logging.redaction import Redactor
from conduit.observability.setup import Export, setup_telemetry
from conduit.routing.errors import ConduitError, ConfigurationError
from conduit.routing.protocols import Clock
from conduit.routing.system import SystemClock, TimeOrderedIds

OPEN_DOOR = "whoever reaches the port may use it; set API_KEY, or `conduit keys create NAME`"


class Application(Starlette):
    """Says in one line why it cannot start, where a traceback would say where."""

    cannot_start = ""

    def build_middleware_stack(self) -> ASGIApp:
        """Without Starlette's outermost layer: our ErrorBoundary answers errors, within the headers of all answers."""
        outermost = super().build_middleware_stack()
        assert isinstance(outermost, ServerErrorMiddleware)
        return outermost.app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await super().__call__(scope, receive, send)
            return

        async def plain(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and self.cannot_start:
                message["message"] = f"conduit: {self.cannot_start}"
            await send(message)

        await super().__call__(scope, receive, plain)


def create_app(settings: Settings, environ: Mapping[str, str], *, alone: bool = False) -> Application:
    """The routes in their stack; everything behind them is assembled when the server starts. `alone`: the process is
    this application's, and what it has loaded by then stays."""

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        setup_logs(level=settings.log_level, form=settings.log_format)
        try:
            await telemetry.start()
            if payloads is not None:
                payloads.start()
            conduit = app.state.conduit = await assemble(settings, environ, telemetry=telemetry)
            await conduit.start()
            log = structlog.get_logger("conduit")
            if not await conduit.authenticator.asks():
                log.warning("authentication is off", remedy=OPEN_DOOR)
            for each in (*remarks(settings, environ), *await remarks_on_keys(settings, conduit.key_admin)):
                log.warning(each.said, remedy=each.remedy)
        except ConduitError as error:
            app.cannot_start = str(error)
            raise
        if alone:  # else the garbage collector looks through all that was imported, again and again
            gc.collect()
            gc.freeze()
        try:
            yield
        finally:
            await conduit.stop()
            if payloads is not None:
                await payloads.stop()
            await telemetry.stop()

    clock = SystemClock()
    ids = TimeOrderedIds(clock)
    app = Application(
        routes=[*ROUTES, *PAGES],
        exception_handlers={ConduitError: answer_error, HTTPException: answer_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # to wherever the caller's Host header says
    telemetry = setup_telemetry(app, export=_export(settings), folder=settings.metrics_folder, clock=clock, ids=ids)
    payloads = _payloads(settings, clock, telemetry)
    setup_middleware(app, settings, clock=clock, ids=ids, listener=telemetry, payloads=payloads)
    return app


def _export(settings: Settings) -> Export | None:
    if not settings.otel_enabled:
        return None
    return Export(
        settings.otel_exporter_otlp_endpoint,
        settings.otel_exporter_otlp_headers.get_secret_value(),
        settings.otel_service_name,
        traces=settings.otel_traces_enabled,
        share=settings.otel_traces_sampler_arg,
        metrics=settings.otel_metrics_enabled,
        metrics_every_s=settings.otel_metric_export_interval / 1e3,
    )


def _payloads(settings: Settings, clock: Clock, listener: Listener) -> PayloadLog | None:
    if not settings.payload_log_folder:
        return None
    pattern = settings.payload_log_redact
    return PayloadLog(
        Path(settings.payload_log_folder),
        days=settings.payload_log_days,
        most=settings.payload_log_max_size,
        redactor=Redactor([re.compile(pattern)] if pattern else []),
        clock=clock,
        listener=listener,
    )


def __getattr__(name: str) -> Application:
    """`app`, made when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    return _configured()


@cache
def _configured() -> Application:
    """By the environment, once in a process."""
    private_by_default()
    try:
        environ = read_environ()
        settings = read_settings(environ)
    except ConfigurationError as error:
        sys.exit(f"conduit: {error}")
    return create_app(settings, environ, alone=True)
