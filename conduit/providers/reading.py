"""A chat stream's bytes into frames, and whether it came to its end."""

from collections.abc import Iterator, Mapping

from conduit.core.errors import UpstreamError
from conduit.core.protocols import Frame
from conduit.gateway.request.content import has_content
from conduit.providers.failures import told
from conduit.providers.json_text import decode
from conduit.providers.sse import Event, Splitter

DONE = b"[DONE]"
FAILED = "error"
"""The finish_reason with which some gateways end an answer that failed."""


class StreamReading:
    """Feed it chunks until `done`, then `finish`. Raises UpstreamError for errors told within the stream."""

    def __init__(self, *, hide_usage: bool) -> None:
        self.done = False
        self.begun = False
        """Whether anything with content has come."""
        self._hide_usage = hide_usage
        self._splitter = Splitter()
        self._finished: dict[int | str, bool] = {}

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        for event in self._splitter.feed(chunk):
            if self._is_done(event):
                return
            yield self._frame(event)

    def finish(self) -> None:
        """Raises UpstreamError unless all its choices finished: [DONE] alone is no end of an answer."""
        rest = self._splitter.finish()
        if rest is not None and not self.done:
            self._is_done(rest)
        if not self._finished or not all(self._finished.values()):
            raise UpstreamError("broke off")

    def _is_done(self, event: Event) -> bool:
        self.done = event.data is not None and event.data.strip() == DONE
        return self.done

    def _frame(self, event: Event) -> Frame:
        if not event.data:
            return Frame(event.raw, None)
        data = decode(event.data)
        choices = _choices(data)
        if (error := error_of(data)) is not None:
            raise told(error, where="stream")
        for choice in choices:
            index, reason = choice.get("index", 0), choice.get("finish_reason")
            index = index if type(index) is int else str(index)
            if reason or index not in self._finished:
                self._finished[index] = bool(reason)
        self.begun = self.begun or has_content(data)
        only_usage = data.get("usage") is not None and all(map(_says_nothing, choices))
        return Frame(b"" if only_usage and self._hide_usage else event.raw, data)


def error_of(data: Mapping[str, object]) -> object:
    """What an answer, or a piece of one, says went wrong: of itself, or in one of its choices. None: nothing."""
    if data.get("error") or data.get("object") == "error":
        return data.get("error") or data
    choices = data.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and (choice.get("error") or choice.get("finish_reason") == FAILED):
            return choice.get("error") or FAILED
    return None


def _choices(data: Mapping[str, object]) -> list[Mapping[str, object]]:
    choices = data.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise UpstreamError("garbage")
    return choices


def _says_nothing(choice: Mapping[str, object]) -> bool:
    """As the choice with which LiteLLM's proxy sends the usage, where others send none."""
    delta = choice.get("delta")
    return not choice.get("finish_reason") and not (isinstance(delta, dict) and any(delta.values()))
