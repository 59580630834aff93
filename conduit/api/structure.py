"""How much structure a body has, counted before it is parsed: parsing holds the whole process, also from a thread."""

import numpy as np

from conduit.routing.errors import InvalidRequest

MOST_CONTAINERS = 50_000
"""Arrays and objects: each is an object of Python's, which the garbage collector visits."""
MOST_VALUES = 500_000
"""More than the 300,000 tokens that OpenAI takes in one request of embeddings."""
OPENING, COMMAS = b"[{", b","


def check_structure(body: bytes) -> None:
    """Raises InvalidRequest (400). Looks closely only where a glance does not do: a prompt may be full of brackets."""
    if body.count(b"[") + body.count(b"{") <= MOST_CONTAINERS and body.count(COMMAS) <= MOST_VALUES:
        return
    rest = _without_strings(body)
    for kind, found, most in (
        ("arrays and objects", _all(rest, OPENING), MOST_CONTAINERS),
        ("values", _all(rest, COMMAS), MOST_VALUES),
    ):
        if found > most:
            raise InvalidRequest(f"the body has {found} {kind}; {most} are accepted in one request", status=400)


def _all(text: bytes, kinds: bytes) -> int:
    return sum(text.count(kind) for kind in kinds)


def _without_strings(body: bytes) -> bytes:
    """What lies outside of quotes; of a body that is no JSON, anything."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    read = np.frombuffer(plain, np.uint8)
    quoted = np.bitwise_xor.accumulate(read == ord('"'))  # true from an opening quote to what is before the closing one
    return read[~quoted].tobytes()
