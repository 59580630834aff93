"""What the library raises on purpose: the roots of the tree in conduit/core/errors.py."""

from collections.abc import Mapping


class ConduitError(Exception):
    """The root of the tree."""

    decision_id: str | None = None
    """Of the request that ended so, if it is in the ledger: filled in by who knows it, so that the caller can look it
    up."""


class ConfigurationError(ConduitError):
    """A setting is wrong. The message names it and the remedy."""


class InvalidRequest(ConduitError):
    """The caller's input is wrong. `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 422) -> None:
        super().__init__(message)
        self.param = param
        self.status = status


class NotFound(ConduitError):
    """No such thing, or not the caller's."""

    def __init__(self, what: str, name: str, *, param: str | None = None) -> None:
        super().__init__(f"no {what} is called {name[:200]!r}")
        self.param = param


class NoEligibleModel(ConduitError):
    """The requirements left no model to choose from."""

    def __init__(self, removed: Mapping[str, str]) -> None:
        reasons = "; ".join(f"{model}: {reason}" for model, reason in removed.items())
        super().__init__(f"no model satisfies the constraints ({reasons or 'the catalogue is empty'})")
        self.removed = dict(removed)


class ContextLengthExceeded(NoEligibleModel):
    """The prompt is too long for every model that could answer it otherwise, in the words that clients look for."""

    def __init__(self, removed: Mapping[str, str], *, window: int, asked: int, answer: int) -> None:
        """`asked` and `answer` in tokens, estimated, and the longest `window` of these models."""
        super().__init__(removed)
        says = f"your messages resulted in {asked} tokens"
        if answer:
            says = f"you requested {asked + answer} tokens ({asked} in the messages, {answer} in the completion)"
        less = "messages or completion" if answer else "messages"
        message = f"This model's maximum context length is {window} tokens. However, {says}. "
        self.args = (f"{message}Please reduce the length of the {less}.",)
