"""Sealed answers: nobody reads in a cache what was asked or answered, and what is not ours is a miss."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.cache_entry import CachedAnswer, Slot
from conduit.gateway.request.sealing import FORMAT, NONCE_BYTES, opened, sealed

SLOT = Slot("name", b"s" * 32)
ANSWER = CachedAnswer("m", "dec_1", None, b'{"a":\n1}')
NONCE = b"n" * NONCE_BYTES
OF_THE_FIRST_FORMAT = [
    (
        "6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e47f0400959461dba28bf02e4b4a90d57857ec58ea417bc03ec5f4ef4e8e2c15f"
        "33b8b32f941c845175a3663def2945df712978fa83059fa1dfca67"
    ),
    (
        "020202020202020202020202020202023e83837e8ad9e4c20d92f2f89bc1baa8a51f6413449d543d2aa6b72cd89bebf6"
        "759e7a5b45b8851ef568040ab740031ab9c920506ef2091f4a06ba"
    ),
]
"""ANSWER in SLOT, as SHAKE-256 and BLAKE2b sealed it; the second happens to begin like the format of today."""


@given(st.binary(), st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES), st.text(), st.none() | st.text())
def test_what_was_sealed_is_opened_to_the_byte(body: bytes, nonce: bytes, model: str, identity: str | None) -> None:
    model, identity = model.encode(errors="replace").decode(), identity and identity.encode(errors="replace").decode()
    answer = CachedAnswer(model, "dec_1", identity, body)
    assert opened(sealed(answer, SLOT, nonce), SLOT) == answer


def test_who_has_not_the_request_opens_nothing_and_who_changed_a_bit_neither() -> None:
    blob = sealed(ANSWER, SLOT, NONCE)
    assert opened(blob, Slot("name", b"t" * 32)) is None
    assert opened(blob, Slot("other", SLOT.secret)) is None
    for place in range(len(blob)):
        assert opened(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :], SLOT) is None
    for length in range(len(blob)):
        assert opened(blob[:length], SLOT) is None


def test_a_sealed_answer_shows_nothing_and_never_looks_the_same() -> None:
    loud = CachedAnswer("m", "dec_1", None, b"marked-zebra" * 100)
    one, other = (sealed(loud, SLOT, nonce) for nonce in (b"1" * NONCE_BYTES, b"2" * NONCE_BYTES))
    assert b"zebra" not in one
    assert one[1 + NONCE_BYTES :] != other[1 + NONCE_BYTES :]
    assert b"zebra" not in repr((loud, SLOT)).encode()


@pytest.mark.parametrize("blob", OF_THE_FIRST_FORMAT)
def test_what_an_older_conduit_left_in_a_shared_redis_is_a_miss(blob: str) -> None:
    assert opened(bytes.fromhex(blob), SLOT) is None
    assert opened(FORMAT + bytes.fromhex(blob), SLOT) is None


def test_without_a_cache_no_cryptography_is_loaded() -> None:
    code = "import sys, conduit.assemble, conduit.api.app; print('cryptography' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
