"""What a failed exchange means, in a few stable words that repeat nothing of what the provider or the caller said."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

from aiohttp import (
    ClientConnectionError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientResponseError,
    ClientSSLError,
    ConnectionTimeoutError,
)

from conduit.core.errors import TOO_MANY_REQUESTS, UpstreamError, UpstreamRejected, UpstreamTimeout

REJECTED = frozenset({400, 413, 422})
TIMED_OUT = frozenset({408, 504})
AWAY = frozenset({502, 503})
"""Said by what stands in front of a server that is down, or by one that is still loading."""
LONGEST_WAIT_S = 86_400.0
NO_HEADERS: Mapping[str, str] = {}


def refusal(status: int, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> UpstreamError:
    """The error that an unsuccessful status is."""
    words = f"http {status}"
    if status in REJECTED:
        return UpstreamRejected(words, status=status, body=body)
    if status in TIMED_OUT:
        return UpstreamTimeout(words, status=status)
    if status == TOO_MANY_REQUESTS:
        return UpstreamError(words, status=status, counts=False, body=body, retry_after_s=retry_after_s(headers))
    # Below 500 it is a wrong key, address or quota: the operator's to mend, and no word about the model.
    return UpstreamError(words, status=status, counts=status >= 500, server=status in AWAY)


def told(error: object, *, where: str) -> UpstreamError:
    """The error that an answer tells of itself under status 200. One that names a status is what that status is."""
    code = error.get("code", error.get("status")) if isinstance(error, Mapping) else None
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 and code not in REJECTED:
        return refusal(code, b"")
    return UpstreamError(f"error in {where}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that a provider asks for; a date is read against the provider's own clock. None where it says none."""
    milliseconds, said = headers.get("retry-after-ms", ""), headers.get("retry-after", "").strip()
    seconds = _number(milliseconds)
    seconds = seconds / 1e3 if seconds is not None else _number(said)
    if seconds is None:
        seconds = _until(said, headers.get("date", ""))
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT_S)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number else None  # noqa: PLR0124  not nan


def _until(then: str, now: str) -> float | None:
    try:
        return (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError):
        return None


@contextmanager
def own_words(broken: str) -> Iterator[None]:
    """Raises UpstreamError for whatever the HTTP client raises; `broken` says what a lost connection is called now.

    The original is cut off (`from None`): it carries the address, and sometimes the request's headers.
    """
    try:
        yield
    except ConnectionTimeoutError:
        raise UpstreamTimeout("connect timed out", server=True) from None
    except TimeoutError:
        raise UpstreamTimeout("timed out") from None
    except (ClientError, OSError) as error:
        words, away = _words(error, broken), isinstance(error, ClientConnectorError)
        raise UpstreamError(words, server=away) from None


def closed_unheard(error: Exception) -> bool:
    """Whether a connection was lost before anything came back on it."""
    return isinstance(error, ClientConnectionError | OSError) and not isinstance(
        error, ClientConnectorError | TimeoutError
    )


def _words(error: Exception, broken: str) -> str:
    match error:
        case ClientConnectorDNSError():
            return "unknown host"
        case ClientSSLError():
            return "tls"
        case ClientHttpProxyError():
            return f"the proxy answered http {error.status}"
        case ClientResponseError():
            return "garbage"
        case _ if isinstance(error, ConnectionRefusedError) or isinstance(
            getattr(error, "os_error", None), ConnectionRefusedError
        ):
            return "connection refused"
        case _:
            return broken
