"""The page and its parts, as they are served: static, without a key; the figures that it asks for want one."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline."""
PARTS = {
    "/dashboard": ("index.html", "text/html"),
    "/dashboard/dashboard.css": ("dashboard.css", "text/css"),
    "/dashboard/dashboard.js": ("dashboard.js", "text/javascript"),
}


def _page(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("conduit.dashboard").joinpath(name).read_bytes()

    async def page(_request: Request) -> Response:
        headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}
        return Response(content, media_type=media_type, headers=headers)

    return page


async def _there(_request: Request) -> Response:
    return RedirectResponse("../dashboard")


PAGES = [
    *(Route(path, _page(name, media_type)) for path, (name, media_type) in PARTS.items()),
    Route("/dashboard/", _there),
]
