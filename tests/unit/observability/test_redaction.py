"""What is taken out of kept payloads, and what is left."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.observability.logging.redaction import MARGIN, Redactor
from conduit.routing.features import clipped
from conduit.routing.prompts import Prompts

CARD = "4111 1111 1111 1111"
SECRETS = [
    "jane.doe+x@mail.example.co.uk",
    "sk-proj-abcdefghijklmnop1234",
    "cdt_" + "A1b2-" * 8 + "xyz",
    "AKIAABCDEFGHIJKLMNOP",
    "ghp_abcdefghijklmnopqrst123456",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP",
    CARD,
    "5500-0000-0000-0004",
    "378282246310005",
    "Bearer abcdefgh12345678",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_taken_out_wherever_it_stands(secret: str) -> None:
    """In a sentence, between quotes, as a value, as a field's name, in a list."""
    redactor = Redactor()
    for text in (f"Use {secret} please.", f'"{secret}"', f"({secret})", f"x={secret}\nnext"):
        assert secret not in redactor.text(text)
    kept = redactor.value({"a": [{"b": secret}], secret: 1}, most=10_000)
    assert secret not in str(kept)


@pytest.mark.parametrize(
    "text", ["password: hunter22", "API_KEY=abcd1234", '{"secret": "s3cr3t!"}', "token = 'abcdefgh'"]
)
def test_what_is_called_a_secret_is_one(text: str) -> None:
    """The name stays, so that one can see what was there."""
    redacted = Redactor().text(text)
    assert "[key]" in redacted
    assert not any(word in redacted for word in ("hunter22", "abcd1234", "s3cr3t!", "abcdefgh"))


@pytest.mark.parametrize(
    "text",
    ["Call me at ten.", "1234 5678 9012 3456 is no card", "a @ b", "tokens: 12", "skating is fun", "3.14159265358979"],
)
def test_ordinary_words_are_left(text: str) -> None:
    """Numbers that fail the cards' own check, and words that only begin as keys do."""
    assert Redactor().text(text) == text


def test_a_number_that_is_a_card_is_taken_out() -> None:
    """Other numbers stay numbers."""
    assert Redactor().value([4111111111111111, 7, 0.5, True, None], most=1000) == ["[card]", 7, 0.5, True, None]


def test_an_operators_own_pattern_is_taken_out_too() -> None:
    """Beside the built-in ones."""
    redactor = Redactor([re.compile(r"TICKET-\d+")])
    assert redactor.text("TICKET-42 of a@b.example") == "[redacted] of [email]"


@given(st.integers(0, 3000), st.sampled_from(SECRETS), st.integers(1, 2500))
def test_no_piece_of_a_secret_is_kept_where_text_is_cut(before: int, secret: str, most: int) -> None:
    """Wherever the cut falls."""
    text = "word " * (before // 5) + secret + " word" * MARGIN
    kept = str(Redactor().value(text, most=most))
    assert len(kept) <= most + 30
    assert not any(secret[:n] in kept for n in range(9, len(secret)) if secret[:n] not in "-----BEGIN RSA ")


def test_files_are_not_kept() -> None:
    """Pictures come as text."""
    assert Redactor().text("data:image/png;base64," + "A" * 5000) == "[file]"


def test_all_strings_together_are_bounded() -> None:
    """However many there are."""
    kept = Redactor().value([{"content": "x" * 100}] * 1000, most=1000)
    assert len(str(kept)) < 2500


@pytest.mark.parametrize("length", [8001, 19_999, 20_000, 20_001, 100_000])
def test_features_read_the_same_of_what_is_kept_of_a_text(length: int) -> None:
    text = "".join(f"word{n} " for n in range(length // 5))[:length]
    kept = Redactor().ends(text, most=20_000)
    assert len(kept) <= 20_000
    assert clipped(kept) == clipped(text)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 40, 100, 1024, 5000])
@pytest.mark.parametrize("place", range(0, 7000, 331))
def test_no_half_of_a_secret_is_kept_where_a_text_is_cut(most: int, place: int) -> None:
    """Wherever it stands, of whatever length within the margin."""
    secret = "sk-" + "0123456789abcdef" * 20
    text = f"{'x ' * (place // 2)}{secret} {'y ' * ((7000 - place) // 2)}"
    kept = Redactor().ends(text, most=most)
    assert len(kept) <= most
    assert "0123" not in kept
    assert "cdef" not in kept


def test_a_short_text_is_kept_whole() -> None:
    assert Redactor().ends("Write to me@here.org.", most=100) == "Write to [email]."


@pytest.mark.parametrize("most", [7, 100, 20_000])
@pytest.mark.parametrize("length", [50, 45_000, 300_000])
def test_what_is_remembered_of_a_long_text_is_all_that_is_looked_at(most: int, length: int) -> None:
    text = "".join(f"word{n} me@here.org " for n in range(length // 10))[:length]
    remembered = Prompts("full", most=most + MARGIN)(text).text or ""
    assert Redactor().ends(remembered, most=most) == Redactor().ends(text, most=most)


@pytest.mark.parametrize("size", [1700, 3247, 60_000])
@pytest.mark.parametrize("begin", ["-----BEGIN RSA PRIVATE KEY-----\n", "data:image/png;base64,"])
@pytest.mark.parametrize("behind", [0, 500, 1900])
def test_of_what_is_long_and_stands_at_the_end_nothing_is_kept(size: int, begin: str, behind: int) -> None:
    """However far before the tail it began."""
    lines = "" if begin.startswith("data") else "\n"
    secret = lines.join(["SECRETsecret+/0123456789" * 2] * (size // 48))
    text = "word " * 10_000 + begin + secret + " more" * (behind // 5)
    assert "SECRET" not in Redactor().ends(text, most=20_000)
