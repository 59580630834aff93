"""Personal data and secrets are taken out of what is kept: before it is written, and never after."""

import re
from collections.abc import Iterable, Mapping, Sequence

from conduit.routing.features import TAIL

EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
KEYS = re.compile(
    r"\b(?:sk|pk|rk|cdt|gsk|xai|hf|npm|glpat|ghp|gho|ghs|github_pat|xox[abprs]|AIza|AKIA|ASIA)[-_]?[A-Za-z0-9_-]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JSON web tokens
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
)
NAMED = re.compile(
    r"(?i)\b((?:api[_-]?key|access[_-]?key|secret|token|passw(?:or)?d|pwd)\b[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\s\"',;]{4,}"
)
DIGITS = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])")
DATA = re.compile(r"data:[\w/+.-]{1,80};base64,[A-Za-z0-9+/=]{64,}")
UNBROKEN = re.compile(r"\A[A-Za-z0-9+/=_\r\n-]{64,}")

MARGIN = 1024
"""Characters beyond what is kept that are looked at, so that no secret is cut in two and half of it kept."""


class Redactor:
    """Emails, keys, card numbers, embedded files, and what `more` patterns match. What is personal beyond that (names,
    addresses) it cannot know."""

    def __init__(self, more: Iterable[re.Pattern[str]] = ()) -> None:
        self._more = tuple(more)

    def text(self, text: str) -> str:
        for pattern in self._more:
            text = pattern.sub("[redacted]", text)
        text = DATA.sub("[file]", text)
        text = KEYS.sub("[key]", text)
        text = NAMED.sub(r"\1[key]", text)
        text = EMAIL.sub("[email]", text)
        return DIGITS.sub(_unless_card, text)

    def ends(self, text: str, *, most: int) -> str:
        """The text, if it has no more than `most` characters, else its head and its tail: what features read of it."""
        if len(text) <= most:
            return self.text(text)[:most]
        tail = min(TAIL, most // 4)
        return f"{self._head(text, most - tail - 1)}\n{self._tail(text, tail, most)}"

    def _head(self, text: str, room: int) -> str:
        looked_at = text[: room + MARGIN]
        redacted = self.text(looked_at)
        return redacted[: room if looked_at == text else min(room, max(len(redacted) - MARGIN, 0))]

    def _tail(self, text: str, room: int, most: int) -> str:
        """What begins before what is looked at, and has neither blank nor stop, may be the rest of a file or a key."""
        looked_at = text[-(most + MARGIN) :]
        redacted = self.text(looked_at if looked_at == text else UNBROKEN.sub("[file]", looked_at))
        return redacted[max(len(redacted) - room, 0 if looked_at == text else MARGIN) :]

    def value(self, value: object, *, most: int) -> object:
        """The same of every string in a JSON value, names of fields included; together no more than `most` characters
        of them, the rest cut off."""
        return _Shrinking(self, most).value(value)


class _Shrinking:
    """What is left of the room for one value."""

    def __init__(self, redactor: Redactor, left: int) -> None:
        self._redactor, self._left = redactor, left

    def value(self, value: object) -> object:
        match value:
            case str():
                return self._text(value)
            case Mapping():
                return {self._text(str(name)): self.value(each) for name, each in value.items() if self._left > 0}
            case Sequence():
                return [self.value(each) for each in value if self._left > 0]
            case int() if not isinstance(value, bool) and self._redactor.text(str(value)) != str(value):
                return self._text(str(value))
            case _:
                self._left -= 8
                return value

    def _text(self, text: str) -> str:
        room = max(self._left, 0)
        looked_at = text[: room + MARGIN]
        redacted = self._redactor.text(looked_at)
        if len(looked_at) < len(text):
            redacted = redacted[:-MARGIN]
        kept = redacted[:room]
        self._left -= len(kept) + 1
        whole = len(looked_at) == len(text) and len(kept) == len(redacted)
        return kept if whole else f"{kept}... ({len(text)} characters)"


def _unless_card(found: re.Match[str]) -> str:
    digits = [int(c) for c in found[0] if c.isdecimal()]
    doubled = [d if i % 2 == 0 else 2 * d - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return "[card]" if sum(doubled) % 10 == 0 else found[0]
