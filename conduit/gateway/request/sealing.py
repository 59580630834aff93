"""Cached answers sealed with AES-256-GCM under a key that only the request tells.

A module of its own: without a cache `cryptography` is not loaded.
"""

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from conduit.core.cache_entry import CachedAnswer, Slot

FORMAT = b"\x02"
"""The first byte of an entry. Entries of the first format began with a random byte, and none of them opens here."""
NONCE_BYTES = 12


def sealed(answer: CachedAnswer, slot: Slot, nonce: bytes) -> bytes:
    """Format, nonce, ciphertext and tag. The `nonce` must be new each time."""
    about = orjson.dumps([answer.model, answer.decision_id, answer.response_id])
    return FORMAT + nonce + AESGCM(slot.secret).encrypt(nonce, about + b"\n" + answer.body, _bound_to(slot))


def opened(blob: bytes, slot: Slot) -> CachedAnswer | None:
    """None when it is not what was sealed for that slot, in this format."""
    nonce, hidden = blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :]
    if blob[:1] != FORMAT or len(nonce) < NONCE_BYTES:
        return None
    try:
        about, _, body = AESGCM(slot.secret).decrypt(nonce, hidden, _bound_to(slot)).partition(b"\n")
    except InvalidTag:
        return None
    model, decision_id, response_id = orjson.loads(about)
    return CachedAnswer(model, decision_id, response_id, body)


def _bound_to(slot: Slot) -> bytes:
    """Authenticated with the answer: under another name, or another format, it does not open."""
    return FORMAT + slot.name.encode()
