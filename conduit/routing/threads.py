"""Linear algebra on one thread: with matrices of a hundred rows several only wait for each other, on a busy machine a
hundred times longer than the work takes."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """While entered, for the whole process: the library has one setting."""
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit


@cache
def _controller() -> ThreadpoolController:
    """Looks once which libraries are loaded: a few milliseconds."""
    return ThreadpoolController()
