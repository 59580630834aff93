"""Keys as values: their secrets, names, scopes and limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.keys import (
    SCOPES,
    Key,
    KeyEntry,
    Limits,
    Secret,
    checked_name,
    checked_scopes,
    digest_of,
    looks_managed,
    secret_of,
)
from conduit.routing.errors import InvalidRequest


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_secret_has_all_the_random_bits_that_it_was_made_of(one: bytes, other: bytes) -> None:
    assert (secret_of(one) == secret_of(other)) == (one == other)
    assert looks_managed(secret_of(one).encode())
    assert secret_of(one).startswith("cdt_")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_of_fewer_bits_is_not_made(size: int) -> None:
    with pytest.raises(ValueError, match="32"):
        secret_of(bytes(size))


@pytest.mark.parametrize("name", ["a", "ci", "team-1.prod_eu", "9", "x" * 64])
def test_a_name_is_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".", "a b", "a/b", "x" * 65, "a\n", "é", "api_key", "key_1"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked_name(name)
    assert caught.value.param == "name"


@pytest.mark.parametrize(("scopes", "said"), [([], "at least one"), (["read", "root"], "'root'"), (["READ"], "'READ'")])
def test_scopes_are_those_that_there_are(scopes: list[str], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        checked_scopes(scopes)
    assert checked_scopes(SCOPES) == set(SCOPES)


def test_a_key_may_what_its_scopes_say_and_an_admin_everything() -> None:
    reader, admin = (Key("key_1", "k", frozenset({scope})) for scope in ("read", "admin"))
    assert [reader.may(scope) for scope in SCOPES] == [False, False, True, False]
    assert all(admin.may(scope) for scope in SCOPES)
    assert (reader.is_admin, admin.is_admin) == (False, True)


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "concurrent"])
@pytest.mark.parametrize("limit", [0, -1, 2**31])
def test_a_limit_that_is_none_is_refused(name: str, limit: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Limits(**{name: limit})
    assert caught.value.param == name
    assert Limits(**{name: 1}) != Limits()


def test_only_what_is_good_now_is_let_in() -> None:
    old, new = Secret(digest_of(b"old"), 20.0), Secret(digest_of(b"new"))
    key = KeyEntry(Key("key_1", "k", frozenset({"read"}), 30.0), 0.0, None, (old, new))
    assert [key.admits(old.digest, at) for at in (19.0, 20.0)] == [True, False]
    assert [key.admits(new.digest, at) for at in (20.0, 29.0, 30.0)] == [True, True, False]
    assert not key.admits(digest_of(b"other"), 0.0)
    assert [key.usable(at) for at in (29.0, 30.0)] == [True, False]
