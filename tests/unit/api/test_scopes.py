"""Every route under /v1 asks for a scope, and for the right one."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from conduit.api.routes import ROUTES
from conduit.api.scopes import caller_id, needs, owner
from conduit.core.errors import PermissionDenied, Unauthenticated
from conduit.core.keys import SCOPES, Key
from conduit.core.request_state import SCOPE, RequestState
from tests.unit.api.door import entry

PROTECTED = [route for route in ROUTES if route.path.startswith("/v1/")]


def asked_by(key: Key | None, *headers: tuple[bytes, bytes]) -> Request:
    return Request({"type": "http", SCOPE: RequestState(key=key), "headers": headers, "method": "GET"})


async def here(request: Request) -> Response:
    return Response()


@pytest.mark.parametrize("route", PROTECTED, ids=lambda r: f"{min(r.methods)} {r.path}")
async def test_a_key_without_scopes_may_nothing(route) -> None:
    """Whoever adds a route says with `needs` who may use it."""
    with pytest.raises(PermissionDenied):
        await route.endpoint(asked_by(Key("key_1", "k", frozenset())))


@pytest.mark.parametrize("route", [r for r in PROTECTED if r.path.startswith("/v1/keys")], ids=lambda r: r.path)
async def test_keys_are_for_admins_and_for_nobody_where_there_are_no_keys(route) -> None:
    with pytest.raises(Unauthenticated):
        await route.endpoint(asked_by(None))
    with pytest.raises(PermissionDenied):
        await route.endpoint(asked_by(entry(scopes=("complete", "feedback", "read")).key))


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_opens_what_needs_it_and_nothing_else(scope: str) -> None:
    key = entry(scopes=(scope,)).key
    for needed in SCOPES:
        if scope in {needed, "admin"}:
            assert (await needs(needed, here)(asked_by(key))).status_code == 200
        else:
            with pytest.raises(PermissionDenied, match=f"'{needed}'"):
                await needs(needed, here)(asked_by(key))


async def test_without_a_key_all_but_admin_is_open() -> None:
    for needed in ("complete", "feedback", "read"):
        assert (await needs(needed, here)(asked_by(None))).status_code == 200
    for code, headers in (("authentication_required", []), ("invalid_api_key", [(b"authorization", b"Bearer x")])):
        with pytest.raises(Unauthenticated, match="conduit keys create") as raised:
            await needs("admin", here)(asked_by(None, *headers))
        assert raised.value.code == code


def test_a_key_sees_its_own_and_an_admin_everything() -> None:
    plain, admin = entry(scopes=("read",)).key, entry(scopes=("admin",)).key
    assert [owner(asked_by(key)) for key in (plain, admin, None)] == [plain.id, None, None]
    assert [caller_id(asked_by(key)) for key in (plain, admin, None)] == [plain.id, admin.id, None]
