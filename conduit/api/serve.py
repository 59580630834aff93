"""uvicorn with a welcome: where it listens, what it offers, one command to try."""

import asyncio
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from conduit.api.descriptors import Watch, raise_limit
from conduit.api.head import BoundedHead
from conduit.assemble.conduit import Conduit
from conduit.routing.catalogue import Price


class WelcomingServer(uvicorn.Server):
    """Says hello when the socket is open, and not before. Told to end, it is not ready at once, and goes on serving
    for `delay_s`, so that who sends requests here can notice; told again, it ends now."""

    def __init__(self, app: Starlette, config: uvicorn.Config, *, delay_s: float) -> None:
        super().__init__(config)
        self._state, self._delay_s = app.state, delay_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._descriptors = Watch()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            conduit: Conduit = self._state.conduit
            asks = await conduit.authenticator.asks()
            print(welcome(conduit, self.config.host, self.config.port, asks=asks), flush=True)  # noqa: T201

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 10 == 0:
            self._descriptors.look()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Of a signal, at whatever place the loop happens to be."""
        conduit: Conduit | None = getattr(self._state, "conduit", None)
        if conduit is None or self._loop is None or conduit.readiness.draining or not self._delay_s:
            super().handle_exit(sig, frame)
            return
        conduit.readiness.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._delay_s, super().handle_exit, sig, None)


def serve(app: Starlette, *, host: str, port: int, delay_s: float, grace_s: int) -> None:
    """Until SIGINT, SIGTERM, or SIGHUP unless that is ignored (nohup); then what is in flight ends within `grace_s` or
    is cut, the ledger is written, and the exit code is 0.

    uvicorn shuts down in order and raises the signal once more when it is done; this is what then receives it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # else the end of a terminal would cut what is in flight
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    raise_limit()
    quiet: dict[str, Any] = {"log_config": None, "access_log": False, "proxy_headers": False}
    config = uvicorn.Config(app, host=host, port=port, http=BoundedHead, timeout_graceful_shutdown=grace_s, **quiet)
    WelcomingServer(app, config, delay_s=delay_s).run(_listening(host, port, config.backlog))


def _listening(host: str, port: int, backlog: int) -> list[socket.socket] | None:
    """All of IPv4 too where all of IPv6 is meant: event loops take `::` for IPv6 alone. None: uvicorn does it."""
    if host != "::" or not socket.has_dualstack_ipv6():
        return None
    try:
        return [socket.create_server((host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)]
    except OSError as error:
        sys.exit(f"conduit: cannot listen on port {port} of all addresses: {error.strerror}")


def welcome(conduit: Conduit, host: str, port: int, *, asks: bool) -> str:
    """Fits 80 columns. `asks`: whether callers need a key."""
    shown = "localhost" if host in {"0.0.0.0", "::"} else host  # noqa: S104  it is compared, not bound
    url = f"http://{shown}:{port}"
    names = "\n".join(f"  {model.name:<34} {price_line(model.price)}" for model in conduit.router.catalogue)
    names = names or "  none yet: no provider has listed any; they are asked again and again"
    note = "\nThese are simulated. Set OPENAI_API_KEY (or others: see README) for real ones.\n"
    door = "" if asks else "\nNo key is asked for: set API_KEY, or `conduit keys create NAME`.\n"
    key = '\n    -H "authorization: Bearer $CONDUIT_KEY" \\' if asks else ""
    return f"""
Conduit listens on {url}

The models that "auto" chooses from, in US dollars per million tokens:
{names}
{note if conduit.simulated else ""}{door}
Try it:
  curl {url}/v1/chat/completions \\{key}
    -H 'content-type: application/json' \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
"""


def price_line(price: Price | None) -> str:
    if price is None:
        return "price unknown"
    return f"{price.input_usd_per_mtok:>7.3f} in  {price.output_usd_per_mtok:>7.3f} out"
