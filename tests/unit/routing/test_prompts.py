"""What of a prompt is remembered, and what can be told from it."""

import hmac

import pytest

from conduit import Model, Router
from conduit.routing.features import HEAD, TAIL
from conduit.routing.prompts import HASH_BYTES, NOTHING, Prompts, Remembered, hashed, keyed
from conduit.routing.query import Query

KEY = b"k" * 32
UNDER = keyed(KEY)


def prompts(mode) -> Prompts:
    made = Prompts(mode)
    made.hash_under(KEY)
    return made


def test_each_mode_remembers_what_it_says() -> None:
    assert prompts("off")("What?") == NOTHING
    assert prompts("hashed")("What?") == Remembered(hash=hashed("What?", UNDER))
    assert prompts("full")("What?") == Remembered(text="What?")


@pytest.mark.parametrize("mode", ["off", "hashed", "full"])
def test_an_empty_text_is_no_prompt(mode) -> None:
    assert prompts(mode)("") == NOTHING


def test_without_a_key_nothing_is_hashed() -> None:
    assert Prompts("hashed")("What?") == NOTHING


def test_equal_prompts_hash_alike_and_no_others() -> None:
    long = "a" * HEAD + "{}" + "b" * TAIL
    texts = ["What?", "what?", "What ?", "", "\ud800", "\ud801", "x\0", "x", long.format(""), long.format("c" * 9)]
    assert len({hashed(text, UNDER) for text in texts}) == len(texts)
    assert hashed(" What?\n", UNDER) == hashed("What?", UNDER)
    assert len(hashed("What?", UNDER)) == HASH_BYTES


def test_it_is_the_hmac_of_everybody() -> None:
    """So that an operator can look for a prompt without us."""
    assert hashed(" What? ", UNDER) == hmac.digest(KEY, b"5 What?", "sha256")[:16]


def test_under_another_key_the_same_prompt_has_another_hash() -> None:
    assert hashed("What?", UNDER) != hashed("What?", keyed(b"l" * 32))


@pytest.mark.parametrize("routed", [True, False])
def test_a_decision_remembers_its_prompt_and_does_not_show_it(routed) -> None:
    router = Router([Model("a", "p")], prompts=prompts("full"))
    decision = router.choose("canary") if routed else router.assign(Query("canary"), "a")
    assert (decision.prompt, decision.prompt_hash) == ("canary", None)
    assert "canary" not in repr(decision)


def test_the_library_remembers_nothing_unless_it_is_told_to() -> None:
    decision = Router([Model("a", "p")]).choose("canary")
    assert (decision.prompt, decision.prompt_hash) == (None, None)


def test_of_a_text_without_end_both_ends_are_remembered() -> None:
    made = Prompts("full", most=10)
    assert made("a" * 20).text == "a" * 20
    assert made("a" * 10 + "b" + "c" * 10).text == "a" * 10 + "c" * 10
    assert made("a" * 10 + "b" * 1000 + "c" * 10).text == "a" * 10 + "c" * 10
