"""/v1/keys: an admin makes keys, gives them new secrets, and revokes them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from conduit.api.body import json_object, parsed
from conduit.api.envelope import json_response
from conduit.api.schema import KeyIn, RotateIn
from conduit.api.scopes import needs
from conduit.assemble.conduit import Conduit
from conduit.core.keys import ADMIN, KeyEntry
from conduit.gateway.access.key_admin import Cut

SECRET_IS_THERE = {"cache-control": "no-store"}


def _conduit(request: Request) -> Conduit:
    conduit: Conduit = request.app.state.conduit
    return conduit


async def create(request: Request) -> Response:
    said = parsed(KeyIn, await json_object(request))
    cut = await _conduit(request).key_admin.create(
        said.name, scopes=said.scopes, expires_in_s=said.expires_in_s, limits=said.limits.limits()
    )
    return _shown_once(cut, status=201)


async def keys(request: Request) -> Response:
    """One route for both methods, so that a third is told of both."""
    return await (create if request.method == "POST" else listed)(request)


async def listed(request: Request) -> Response:
    entries = await _conduit(request).key_admin.list()
    return json_response({"object": "list", "data": [key_view(entry) for entry in entries]})


async def rotate(request: Request) -> Response:
    said = parsed(RotateIn, await json_object(request) if await request.body() else {})
    cut = await _conduit(request).key_admin.rotate(request.path_params["name"], overlap_s=said.overlap_s)
    _conduit(request).authenticator.forget()
    return _shown_once(cut, status=200)


async def revoke(request: Request) -> Response:
    entry = await _conduit(request).key_admin.revoke(request.path_params["name"])
    _conduit(request).authenticator.forget()
    return json_response(key_view(entry))


def _shown_once(cut: Cut, *, status: int) -> Response:
    return json_response({**key_view(cut.entry), "secret": cut.secret}, status=status, headers=SECRET_IS_THERE)


def key_view(entry: KeyEntry) -> dict[str, Any]:
    """A secret is known by the beginning of its digest, which tells nothing of it."""
    key, limits = entry.key, entry.key.limits
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_s": entry.created_s,
        "expires_s": key.expires_s,
        "revoked_s": entry.revoked_s,
        "limits": {
            "requests_per_minute": limits.requests_per_minute,
            "tokens_per_minute": limits.tokens_per_minute,
            "concurrent": limits.concurrent,
        },
        "secrets": [{"fingerprint": s.digest.hex()[:12], "expires_s": s.expires_s} for s in entry.secrets],
    }


KEY_ROUTES = [
    Route("/v1/keys", needs(ADMIN, keys), methods=["GET", "POST"]),
    Route("/v1/keys/{name}/rotate", needs(ADMIN, rotate), methods=["POST"]),
    Route("/v1/keys/{name}", needs(ADMIN, revoke), methods=["DELETE"]),
]
