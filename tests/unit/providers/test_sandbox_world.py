"""The sandbox has something in it to learn: which model is worth its money depends on the prompt."""

from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.providers.sandbox import sandbox_models
from conduit.providers.sandbox_world import KINDS, difficulty_of, kind_of
from conduit.routing.catalogue import Catalogue
from tests.unit.providers.asking import CODE, EASY_CHAT, HARD_MATH, MODELS, ask


async def quality(model: str, prompts: list[str]) -> float:
    return mean([float((await ask(model, prompt))["conduit_sandbox"]["quality"]) for prompt in prompts])


def test_five_models_over_a_hundredfold_price_range() -> None:
    assert [model.name for model in Catalogue(sandbox_models())] == [
        f"sandbox/{name}" for name in ("nano", "small", "coder", "large", "frontier")
    ]
    prices = [model.price.output_usd_per_mtok for model in sandbox_models() if model.price]
    assert len(prices) == 5
    assert max(prices) == pytest.approx(100 * min(prices))


async def test_cheap_models_are_as_good_at_easy_chat() -> None:
    assert await quality("nano", EASY_CHAT) > await quality("frontier", EASY_CHAT) - 0.06


async def test_coder_is_as_good_as_frontier_at_code_for_a_tenth_of_the_price() -> None:
    assert await quality("coder", CODE) > await quality("frontier", CODE) - 0.06
    assert await quality("coder", CODE) > await quality("small", CODE) + 0.1
    coder, frontier = MODELS["coder"].price, MODELS["frontier"].price
    assert coder
    assert frontier
    assert frontier.output_usd_per_mtok == pytest.approx(10 * coder.output_usd_per_mtok)


async def test_only_the_large_hold_on_hard_math() -> None:
    held = {name for name in MODELS if await quality(name, HARD_MATH) > 0.7}
    assert held == {"large", "frontier"}


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Fix this: ```def f(x): return x+```", "code"),
        ("Solve x^2 - 5x + 6 = 0", "math"),
        ("Write a haiku about autumn", "writing"),
        ("Compare both plans; pros and cons", "analysis"),
        ("hi, how are you?", "chat"),
        ("What is the capital of France?", "other"),
        ("", "other"),
    ],
)
def test_kinds(prompt: str, kind: str) -> None:
    assert kind_of(prompt) == kind


def test_hard_words_and_length_make_it_harder() -> None:
    assert difficulty_of("hi") < difficulty_of(CODE[0]) < difficulty_of(HARD_MATH[0])


@given(st.text())
def test_any_prompt_has_a_kind_and_a_difficulty(prompt: str) -> None:
    assert kind_of(prompt) in KINDS
    assert 0 <= difficulty_of(prompt) <= 1
