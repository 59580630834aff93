"""What the cache of features gives back, keeps and counts."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from conduit.bandits.policy import Vector
from conduit.routing.features import HEAD, TAIL, TextFeatures
from conduit.routing.features_cache import CachedFeatures


class Counted(TextFeatures):
    """How often each text was looked at."""

    def __init__(self) -> None:
        self.looked_at: list[str] = []

    def context(self, text: str) -> Vector:
        self.looked_at.append(text)
        return super().context(text)


def test_the_same_text_is_looked_at_once_and_gives_the_same_context() -> None:
    inner = Counted()
    cached = CachedFeatures(inner, most=2)
    for text in ("one", "two", "one"):
        assert np.array_equal(cached.context(text), TextFeatures().context(text))
    assert inner.looked_at == ["one", "two"]
    assert (cached.hits, cached.misses) == (1, 2)


def test_the_text_that_was_not_asked_for_longest_goes() -> None:
    inner = Counted()
    cached = CachedFeatures(inner, most=2)
    for text in ("one", "two", "one", "three", "one", "two"):
        cached.context(text)
    assert inner.looked_at == ["one", "two", "three", "two"]


def test_nobody_can_change_what_others_get() -> None:
    with pytest.raises(ValueError, match="read-only"):
        CachedFeatures(TextFeatures(), most=1).context("one")[0] = 1.0


def test_what_the_features_do_not_read_does_not_matter_and_what_they_read_does() -> None:
    cached = CachedFeatures(TextFeatures(), most=10)
    head, tail = "a" * HEAD, "b" * TAIL
    for text in (f"{head} one {tail}", f"{head} two {tail}", f"{head}{tail}", "\ud800", "\ud801"):
        cached.context(text)
    assert (cached.hits, cached.misses) == (1, 4)


def test_threads_get_what_they_ask_for_and_all_are_counted() -> None:
    cached = CachedFeatures(TextFeatures(), most=16)
    texts = [f"What is {n % 32}?" for n in range(2000)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(cached.context, texts))
    wanted = [TextFeatures().context(text) for text in texts[:32]]
    assert all(np.array_equal(x, wanted[n % 32]) for n, x in enumerate(found))
    assert cached.hits + cached.misses == len(texts)
