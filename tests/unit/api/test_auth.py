"""The door: whoever has no good key stays outside, whatever is sent."""

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.core.errors import LedgerUnavailable
from conduit.core.keys import THE_OPERATORS, KeyEntry
from conduit.stores.sql.keys import MemoryKeyStore
from conduit.testing import StillClock
from tests.unit.api.door import OWN, authenticator, bearer, call, entry, guarded, secret

GUARDED = guarded(authenticator())
KEY = bearer(OWN)


async def test_the_operators_key_opens() -> None:
    """And whoever is behind the door knows whose it was."""
    reply = await call(GUARDED, "/v1/models", KEY)
    assert (reply.status, reply.body.decode()) == (200, THE_OPERATORS.id)


async def test_a_managed_key_opens_beside_it() -> None:
    store = MemoryKeyStore()
    await store.create(entry(7))
    app = guarded(authenticator(store))
    assert (await call(app, "/v1/models", bearer(secret(7)))).body == entry(7).key.id.encode()
    assert (await call(app, "/v1/models", KEY)).status == 200
    assert (await call(app, "/v1/models", bearer(secret(8)))).code == "invalid_api_key"


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
@pytest.mark.parametrize("between", [b" ", b"   "])
async def test_the_scheme_is_read_in_any_case(scheme: bytes, between: bytes) -> None:
    assert (await call(GUARDED, "/v1/models", (b"authorization", scheme + between + OWN + b" "))).status == 200


async def test_no_header_is_told_what_to_send() -> None:
    reply = await call(GUARDED)
    assert (reply.status, reply.code) == (401, "authentication_required")
    assert reply.headers[b"www-authenticate"] == b"Bearer"
    assert b"Bearer" in reply.body
    assert reply.headers[b"x-request-id"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer    ",
        OWN,
        b"Basic " + OWN,
        b"Bearer\t" + OWN,
        b"Bearer:" + OWN,
        b"\xff",
    ],
)
async def test_another_format_is_named_so(value: bytes) -> None:
    reply = await call(GUARDED, "/v1/models", (b"authorization", value))
    assert (reply.status, reply.code) == (401, "invalid_auth_format")
    assert reply.headers[b"www-authenticate"] == b"Bearer"


async def test_two_headers_are_one_too_many() -> None:
    """A proxy may look at the first, and we at the last."""
    for pair in ((KEY, KEY), (KEY, bearer("x")), (bearer("x"), KEY)):
        assert (await call(GUARDED, "/v1/models", *pair)).code == "invalid_auth_format"


@pytest.mark.parametrize(
    "token",
    [
        b"sk-mistaken",
        OWN[:-1],
        OWN + b"x",
        OWN.upper(),
        b"\x00",
        b"\xff\xfe",
        OWN + b" " + OWN,
        b"x" * 100_000,
        "ключ".encode(),
        secret(1).encode(),
        secret(1).encode() + b"\n",
    ],
)
async def test_a_wrong_key_is_told_nothing_more(token: bytes) -> None:
    reply = await call(GUARDED, "/v1/models", bearer(token))
    assert (reply.status, reply.code) == (401, "invalid_api_key")
    assert reply.headers[b"www-authenticate"] == b"Bearer"
    assert token[:50] not in reply.body or len(token) == 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: b"Bearer " + b))
async def test_whatever_is_sent_as_authorization_is_401(value: bytes) -> None:
    reply = await call(GUARDED, "/v1/models", (b"authorization", value))
    assert reply.status == 401
    assert reply.code in {"invalid_auth_format", "invalid_api_key"}


# ------------------------------------------------------------------ which paths


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/", "/v1", "/v1/nothing", "/v1//models", "/v1/deep/../../health/live", "/v1/models/"]
)
async def test_what_is_protected_asks(path: str) -> None:
    assert (await call(GUARDED, path)).status == 401


@pytest.mark.parametrize("path", ["/health/live", "/healthy", "/open", "/v10", "/metrics", "/"])
async def test_what_is_not_protected_does_not(path: str) -> None:
    reply = await call(GUARDED, path)
    assert (reply.status, reply.body) == (200, b"nobody")


@pytest.mark.parametrize(
    "path",
    [
        "//v1/models",
        "/%761/models",
        "/V1/models",
        "/./v1/models",
        "/%2e/v1/models",
        "/health/../v1/models",
        "\\v1\\models",
        "/v1%2fmodels",
        "v1/models",
        "http://x/v1/models",
        "/;/v1/models",
        "/v1\x00/models",
    ],
)
async def test_a_path_that_only_looks_like_a_protected_one_leads_nowhere(path: str) -> None:
    """What the door takes for another path, the router takes for another path."""
    assert (await call(GUARDED, path)).status == 404


async def test_the_path_is_the_routers_behind_a_root_path() -> None:
    """A server that is told of a prefix (uvicorn --root-path) leaves it in the path, and the router takes it off."""
    for path in ("/gate/v1/models", "/v1/models"):
        assert (await call(GUARDED, path, root_path="/gate")).status == 401
        assert (await call(GUARDED, path, KEY, root_path="/gate")).status == 200
    assert (await call(GUARDED, "/gate/health/live", root_path="/gate")).status == 200
    assert (await call(GUARDED, "/v1/v1/models", root_path="/v1")).status == 401
    assert (await call(GUARDED, "/v1/open", root_path="/v1")).status == 200


async def test_other_prefixes_are_protected_when_named() -> None:
    app = guarded(authenticator(), protected=("/v1/", "/metrics"))
    assert (await call(app, "/metrics")).status == 401
    assert (await call(app, "/open")).status == 200


async def test_everything_may_be_protected_but_health() -> None:
    app = guarded(authenticator(), protected=("/", "/health/"))
    assert [(await call(app, path)).status for path in ("/", "/open", "/healthy", "/nothing")] == [401] * 4
    assert (await call(app, "/health/live")).status == 200


async def test_a_preflight_needs_no_key() -> None:
    """It cannot send one. Any other OPTIONS does."""
    asking = (b"access-control-request-method", b"POST")
    assert (await call(GUARDED, "/v1/models", asking, method="OPTIONS")).status == 405
    assert (await call(GUARDED, "/v1/models", method="OPTIONS")).status == 401
    assert (await call(GUARDED, "/v1/models", asking, method="POST")).status == 401


# ------------------------------------------------------------------ without keys, and in the log


async def test_without_any_key_nobody_is_asked() -> None:
    """Nor is anybody who sends one turned away."""
    app = guarded(authenticator(own=b""))
    for headers in ([], [bearer("anything")], [(b"authorization", b"\xff")]):
        assert (await call(app, "/v1/models", *headers)).body == b"nobody"


async def test_the_log_names_the_key_and_the_refusal_and_no_token() -> None:
    with structlog.testing.capture_logs() as logs:
        await call(GUARDED, "/v1/models", KEY)
        await call(GUARDED, "/v1/models", bearer("hunter2-hunter2"))
    assert (logs[0]["key"], logs[1]["code"]) == ("api_key", "invalid_api_key")
    assert OWN.decode() not in str(logs)
    assert "hunter2" not in str(logs)


async def test_what_is_no_request_passes() -> None:
    """The server's own lifespan messages."""
    seen = []
    app = guarded(authenticator())

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup" if not seen else "lifespan.shutdown"}

    async def send(message) -> None:
        seen.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# ------------------------------------------------------------------ while the store is away


async def test_a_key_that_is_believed_unseen_says_so_and_no_other_does() -> None:
    """For a while it is what it was when it was looked up last."""

    class Sometimes(MemoryKeyStore):
        away = False

        async def find(self, digest: bytes) -> KeyEntry | None:
            if self.away:
                raise LedgerUnavailable("away")
            return await super().find(digest)

    store, clock = Sometimes(), StillClock(1000.0)
    await store.create(entry())
    app = guarded(authenticator(store, clock=clock))
    assert b"x-conduit-degraded" not in (await call(app, "/v1/models", bearer(secret()))).headers
    store.away = True
    clock.at_s += 10.0
    reply = await call(app, "/v1/models", bearer(secret()))
    assert (reply.status, reply.body, reply.headers[b"x-conduit-degraded"]) == (200, entry().key.id.encode(), b"keys")
    assert b"x-conduit-degraded" not in (await call(app, "/v1/models", KEY)).headers
    unseen = await call(app, "/v1/models", bearer(secret(2)))
    assert (unseen.status, unseen.code, unseen.headers[b"retry-after"]) == (503, "keys_unavailable", b"1")


async def test_a_prefix_may_be_written_with_or_without_its_slash() -> None:
    for protected in ("/v1/", "/v1", "/v1//"):
        app = guarded(authenticator(), protected=[protected])
        assert [(await call(app, path)).status for path in ("/v1/models", "/v1", "/open")] == [401, 401, 200]
    endless = guarded(authenticator(), protected=["/x"])
    assert (await call(endless, "/v1/models")).status == 200
    assert (await call(endless, "/x")).status == 401


async def test_what_to_send_is_told_in_words() -> None:
    assert b'send your key as `Authorization: Bearer <key>`"' in (await call(GUARDED)).body
    reply = await call(GUARDED, "/v1/models", (b"authorization", b"Basic x"))
    assert b'the Authorization header must be one: `Bearer <key>`"' in reply.body
