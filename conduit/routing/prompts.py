"""What is remembered of a prompt beside its context: nothing, a keyed hash, or the text."""

from hmac import HMAC, new
from typing import Literal, NamedTuple

from conduit.routing.features import clipped

PromptText = Literal["off", "hashed", "full"]
KEY_BYTES = 32
HASH_BYTES = 16
"""Of the 32: enough that no two of any number of prompts share one by chance."""


class Remembered(NamedTuple):
    hash: bytes | None = None
    text: str | None = None


NOTHING = Remembered()


class Prompts:
    """Called with each prompt, on the hot path: a hash takes some 3 us for 2 kB, and a text nothing."""

    def __init__(self, mode: PromptText = "off", *, most: int = 1_000_000) -> None:
        """Of a text that has more than twice `most` characters, so many at either end are remembered."""
        self.mode: PromptText = mode
        self._most = most
        self._keyed: HMAC | None = None

    def hash_under(self, key: bytes) -> None:
        """One for all processes of a deployment. Until it is there, nothing is hashed."""
        self._keyed = keyed(key)

    def __call__(self, text: str) -> Remembered:
        """An empty text is no prompt. With the text there is no hash: the text may be redacted, and what was taken out
        of it could be guessed by the hash of the whole."""
        if self.mode == "off" or not text:
            return NOTHING
        if self.mode == "full":
            return Remembered(text=text if len(text) <= 2 * self._most else text[: self._most] + text[-self._most :])
        return NOTHING if self._keyed is None else Remembered(hash=hashed(text, self._keyed))


def keyed(key: bytes) -> HMAC:
    """To be copied: making it takes longer than hashing a short prompt."""
    return new(key, digestmod="sha256")


def hashed(text: str, under: HMAC) -> bytes:
    """(HASH_BYTES,) HMAC-SHA-256 of the canonical prompt: without the blanks around it, and of one too long to read
    what the features read, and its length."""
    text = text.strip()
    mac = under.copy()
    mac.update(b"%d " % len(text) + clipped(text).encode("utf-8", "surrogatepass"))
    return mac.digest()[:HASH_BYTES]
