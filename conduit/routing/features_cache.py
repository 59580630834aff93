"""Features that look at a text once: the same text again costs a hash."""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock

from conduit.bandits.policy import Vector
from conduit.routing.features import clipped
from conduit.routing.protocols import Features

KEY_BYTES = 16


class CachedFeatures:
    """`inner`, with the contexts of the last `most` texts at hand: some 1 kB each, and none of the texts themselves.
    Any number of threads may ask."""

    def __init__(self, inner: Features, *, most: int) -> None:
        self._inner, self._most = inner, most
        self.version, self.dimension, self.blocks = inner.version, inner.dimension, inner.blocks
        self.domain = inner.domain
        self._contexts: OrderedDict[bytes, Vector] = OrderedDict()
        self._alone = Lock()
        self.hits = 0
        self.misses = 0

    def context(self, text: str) -> Vector:
        """(dimension,) not to be written to: others get the same."""
        key = blake2b(clipped(text).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
        with self._alone:
            known = self._contexts.get(key)
            if known is not None:
                self._contexts.move_to_end(key)
                self.hits += 1
                return known
            self.misses += 1
        x = self._inner.context(text)
        x.flags.writeable = False
        with self._alone:
            self._contexts[key] = x
            if len(self._contexts) > self._most:
                self._contexts.popitem(last=False)
        return x
