"""Any text has a context: the same in every process, of bounded length, in bounded time."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.routing.features import TextFeatures

DOMAINS = {"code", "math", "writing", "analysis", "chat", "other"}
HARD = [
    "",
    "\0\0\0",
    "\ud800 lone \udfff",
    "x" * 1_000_000,
    "é" * 1_000_000,
    "word " * 200_000,
    "漢字" * 500_000,
    "İ" * 9000,
    "\n" * 10_000,
    "𝔘" * 10_000,
]


@given(st.text())
def test_every_text_has_a_finite_context_of_bounded_length_and_a_domain(text: str) -> None:
    features = TextFeatures()
    x = features.context(text)
    assert x.shape == (features.dimension,)
    assert np.isfinite(x).all()
    assert x[-1] == 1.0
    assert x @ x < 12.0
    assert features.domain(x) in DOMAINS


@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_absurd_texts_cost_bounded_time(text: str) -> None:
    """A megabyte takes no more than what is read of it: well under a tenth of a second."""
    features = TextFeatures()
    start = time.perf_counter()
    x = features.context(text)
    domain = features.domain(x)
    assert time.perf_counter() - start < 0.1
    assert np.isfinite(x).all()
    assert domain in DOMAINS


def test_a_context_is_the_same_in_another_process() -> None:
    """Nothing in it depends on Python's salted hash."""
    text = "Write a python function that reverses a list, please."
    program = (
        f"from conduit.routing.features import TextFeatures; print(TextFeatures().context({text!r}).tobytes().hex())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert bytes.fromhex(other) == TextFeatures().context(text).tobytes()


def test_texts_that_share_words_are_nearer_than_texts_that_do_not() -> None:
    features = TextFeatures()
    one, like, unlike = (
        features.context(text)
        for text in (
            "Write a python function to sort a list of numbers.",
            "Write a python function to reverse a list of strings.",
            "Which treaty ended the long war between both kingdoms?",
        )
    )
    assert one @ like > one @ unlike + 0.3


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Write a python function:\n```python\ndef f(x): return x\n```", "code"),
        ("How many integer solutions has the equation $x^2 = 4$?", "math"),
        ("Write a story about a lighthouse.", "writing"),
        ("Explain the causes of the French Revolution and compare them.", "analysis"),
        ("hello there, thanks for today", "chat"),
        ("zzz", "other"),
    ],
)
def test_plain_examples_fall_in_their_domain(text: str, domain: str) -> None:
    features = TextFeatures()
    assert features.domain(features.context(text)) == domain


def test_blocks_add_up_to_the_dimension_and_end_in_the_intercept() -> None:
    assert sum(TextFeatures.blocks) == TextFeatures.dimension
    assert TextFeatures.blocks[-1] == 1
