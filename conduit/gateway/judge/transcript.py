"""One answer that is to be judged: what was asked and what was answered, clipped as it is heard, and kept nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field

HALF = 3000
"""Characters kept of a long text's beginning, and as many of its end."""

Body = Mapping[str, object]


@dataclass(slots=True)
class Excerpt:
    """Beginning and end of a text that comes in pieces; never more than twice HALF."""

    head: str = ""
    tail: str = ""
    length: int = 0
    """Of everything that came."""

    def add(self, text: str) -> None:
        self.length += len(text)
        room = HALF - len(self.head)
        self.head += text[:room]
        self.tail = (self.tail + text[max(room, len(text) - HALF) :])[-HALF:]

    def show(self, mark: str) -> str:
        """With `mark` where something was left out, so that a stranger's text cannot pretend that it was."""
        left_out = self.length - len(self.head) - len(self.tail)
        between = f"\n[{mark}: {left_out} characters left out]\n" if left_out else ""
        return _sendable(f"{self.head}{between}{self.tail}")


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the judge will see."""

    decision_id: str
    model: str
    """Who answers; the judge is not told."""
    request: Excerpt
    answer: Excerpt = field(default_factory=Excerpt)

    def read(self, data: Body) -> None:
        """One JSON object of the answer, whole or a chunk: of several choices the first is heard."""
        choices = data.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                part = choice.get("message") or choice.get("delta")
                content = part.get("content") if isinstance(part, dict) else None
                self.answer.add(content if isinstance(content, str) else "")

    @property
    def worth_judging(self) -> bool:
        """Somebody said something: a call of a tool is not for a reader to judge."""
        return bool(self.answer.head.strip() or self.answer.tail.strip())


def conversation(body: Body) -> Excerpt | None:
    """The messages as text, or None when one holds what a reader of text cannot judge: an image, a sound, a file."""
    heard = Excerpt()
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        parts = _parts(message.get("content")) if isinstance(message, dict) else None
        if parts is None:
            return None
        heard.add(f"[{message.get('role')}]\n")
        for part in parts:
            heard.add(part)
            heard.add("\n")
    return heard


def _parts(content: object) -> list[str] | None:
    if not isinstance(content, list):
        return [content] if isinstance(content, str) else []
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    said = [text for text in texts if isinstance(text, str)]
    return said if len(said) == len(texts) else None


def _sendable(text: str) -> str:
    """UTF-8 keeps no half of a surrogate pair, which a cut may leave."""
    return text.encode("utf-8", "replace").decode()
