"""Parts of a request, announced when they begin and when they end."""

from types import TracebackType

from conduit.core.events import Began, Ended
from conduit.core.protocols import Listener


class Step:
    """Use as a context manager, as often as you like, also at the same time."""

    __slots__ = ("_began", "_ended", "_listener", "_name")

    def __init__(self, listener: Listener, name: str) -> None:
        self._listener, self._name = listener, name
        self._began, self._ended = Began(name), Ended(name)

    def __enter__(self) -> None:
        self._listener(self._began)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener(self._ended if kind is None else Ended(self._name, kind.__name__))
