"""What a failed exchange means, in a few stable words that repeat nothing of what the provider or the caller said."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientConnectorDNSError, ClientError, ClientResponseError, ClientSSLError

from conduit.core.errors import UpstreamError, UpstreamRejected, UpstreamTimeout

REJECTED = frozenset({400, 413, 422})
TIMED_OUT = frozenset({408, 504})


def refusal(status: int, body: bytes) -> UpstreamError:
    """The error that an unsuccessful status is."""
    words = f"http {status}"
    if status in REJECTED:
        return UpstreamRejected(words, status=status, body=body)
    if status in TIMED_OUT:
        return UpstreamTimeout(words, status=status)
    # Below 500 it is a wrong key, address or quota: the operator's to mend, and no word about the model.
    return UpstreamError(words, status=status, counts=status >= 500)


@contextmanager
def own_words(broken: str) -> Iterator[None]:
    """Raises UpstreamError for whatever the HTTP client raises; `broken` says what a lost connection is called now.

    The original is cut off (`from None`): it carries the address, and sometimes the request's headers.
    """
    try:
        yield
    except TimeoutError:
        raise UpstreamTimeout("timed out") from None
    except (ClientError, OSError) as error:
        raise UpstreamError(_words(error, broken)) from None


def _words(error: Exception, broken: str) -> str:
    match error:
        case ClientConnectorDNSError():
            return "unknown host"
        case ClientSSLError():
            return "tls"
        case ClientResponseError():
            return "garbage"
        case _ if isinstance(error, ConnectionRefusedError) or isinstance(
            getattr(error, "os_error", None), ConnectionRefusedError
        ):
            return "connection refused"
        case _:
            return broken
