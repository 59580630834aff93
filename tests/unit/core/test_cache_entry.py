"""Answers that may be kept, and how: nobody reads in a cache what was asked or answered."""

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.cache_entry import CachedAnswer, Slot, cacheable, opened, sealed, slot_of
from conduit.routing.query import Preferences, Query, Requirements

SLOT = Slot("name", b"s" * 32)
ANSWER = CachedAnswer("m", "dec_1", None, b'{"a":\n1}')
NONCE = b"n" * 12
BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


@given(st.binary(), st.binary(min_size=12, max_size=12), st.text(), st.none() | st.text())
def test_what_was_sealed_is_opened_to_the_byte(body: bytes, nonce: bytes, model: str, identity: str | None) -> None:
    model, identity = model.encode(errors="replace").decode(), identity and identity.encode(errors="replace").decode()
    answer = CachedAnswer(model, "dec_1", identity, body)
    assert opened(sealed(answer, SLOT, nonce), SLOT) == answer


def test_who_has_not_the_request_opens_nothing_and_who_changed_a_bit_neither() -> None:
    blob = sealed(ANSWER, SLOT, NONCE)
    assert opened(blob, Slot("name", b"t" * 32)) is None
    for place in range(len(blob)):
        assert opened(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :], SLOT) is None
    assert opened(b"", SLOT) is None
    assert all(opened(blob[:length], SLOT) is None for length in range(len(blob)))


def test_an_answer_that_was_moved_to_another_place_is_not_found() -> None:
    assert opened(sealed(ANSWER, SLOT, NONCE), Slot("other", SLOT.secret)) is None


def test_an_answer_of_the_former_version_is_not_found() -> None:
    """A Redis that replicas of two versions share: 16 bytes of nonce, 32 of mark, and the rest."""
    for first in (b"\x00", b"\x02"):
        assert opened(first + b"n" * 15 + b"m" * 32 + b"hidden" * 20, SLOT) is None


def test_the_cipher_is_that_of_its_standard() -> None:
    """Opened by the library's own interface, with nothing of ours."""
    blob = sealed(ANSWER, SLOT, NONCE)
    plain = AESGCM(SLOT.secret).decrypt(blob[1:13], blob[13:], b"\x02name")
    assert plain == b'["m","dec_1",null]\n{"a":\n1}'


def test_a_sealed_answer_shows_nothing_and_never_looks_the_same() -> None:
    loud = CachedAnswer("m", "dec_1", None, b"marked-zebra" * 100)
    one, other = (sealed(loud, SLOT, nonce) for nonce in (b"1" * 12, b"2" * 12))
    assert b"zebra" not in one
    assert one[13:] != other[13:]
    assert b"zebra" not in repr((loud, SLOT)).encode()


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0.1},
        {"temperature": None},
        {"temperature": "0"},
        {"temperature": True},
        {"n": 2},
        {"tools": [{}]},
        {"functions": [{}]},
        {"store": True},
        {"web_search_options": {"a": 1}},
        {"messages": [{"role": "tool", "content": "1"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
    ],
)
def test_what_is_drawn_acts_or_looks_elsewhere_is_not_kept(more: dict[str, object]) -> None:
    assert cacheable(BODY, most_temperature=0.0)
    assert not cacheable(BODY | more, most_temperature=0.0)


def test_who_names_no_temperature_has_the_usual_one() -> None:
    assert cacheable({"messages": []}, most_temperature=1.0)
    assert not cacheable({"messages": []}, most_temperature=0.9)
    assert cacheable(BODY | {"n": 1, "tools": [], "seed": 3}, most_temperature=0.0)


def test_a_place_is_of_one_caller_one_request_and_one_kind_of_answer() -> None:
    plain = slot_of(Query("hi", key_id="k"), BODY, model=None, stream=False)
    others = [
        slot_of(Query("hi", key_id="l"), BODY, model=None, stream=False),
        slot_of(Query("hi"), BODY, model=None, stream=False),
        slot_of(Query("hi", key_id="k"), BODY, model="m", stream=False),
        slot_of(Query("hi", key_id="k"), BODY, model=None, stream=True),
        slot_of(Query("hi", key_id="k"), BODY | {"seed": 1}, model=None, stream=False),
        slot_of(Query("hi", key_id="k", preferences=Preferences.preset("cost")), BODY, model=None, stream=False),
        slot_of(
            Query("hi", key_id="k", requirements=Requirements(deny=frozenset("m"))), BODY, model=None, stream=False
        ),
    ]
    names = {slot.name for slot in [plain, *others]}
    assert len(names) == len(others) + 1
    assert len({slot.secret for slot in [plain, *others]} | {bytes.fromhex(name) for name in names}) == 2 * len(names)
    turned = orjson.loads(orjson.dumps(dict(reversed(BODY.items()))))
    assert slot_of(Query("hi", key_id="k", session_id="s"), turned, model=None, stream=False) == plain
