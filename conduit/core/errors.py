"""Everything that Conduit raises on purpose; what the library raises is in conduit/routing/errors.py.

ConduitError
├── ConfigurationError       a setting is wrong; says which, and the remedy
├── InvalidRequest           the caller's input is wrong; names the field
├── NotFound                 no such model, decision, response or key
├── Unauthenticated          who calls is not known; says why in a code
├── PermissionDenied         the key lacks a scope
├── NoEligibleModel          the requirements removed every model; says which removed whom
│   └── ContextLengthExceeded  the prompt fits no model's window
├── BudgetExceeded           a hard cap on dollars leaves nothing to ask with; says whose, and until when
├── IdempotencyConflict      the Idempotency-Key stands for another request, or for an answer that is not there
├── StillRunning             the request of this Idempotency-Key has not been answered yet
├── UpstreamError            a model did not answer
│   ├── UpstreamRejected     the provider refused this request as the caller's own mistake
│   └── UpstreamTimeout      no answer in time
├── WindowUnavailable        what callers do cannot be counted just now
├── AllModelsFailed          every model that was asked failed; keeps the attempts
└── LedgerError              the ledger refused
    ├── LedgerConflict       somebody else wrote that entry first
    └── LedgerUnavailable    nothing can be written just now
        └── KeysUnavailable  whether a key is good cannot be looked up just now
"""

from collections.abc import Sequence

from conduit.routing.decision import Attempt
from conduit.routing.errors import ConduitError


class Unauthenticated(ConduitError):
    """Who calls is not known. `code` is the contract's; the message never repeats what was sent."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class WindowUnavailable(ConduitError):
    """What callers do cannot be counted together just now. Holds no text of a driver's."""


class CacheUnavailable(ConduitError):
    """What was kept cannot be looked up just now. Holds no text of a driver's."""


class PermissionDenied(ConduitError):
    """The caller is known, and may not do this."""


class BudgetExceeded(ConduitError):
    """What is left under a hard cap does not pay for the worst case of any model that could answer."""

    def __init__(
        self, account: str, period: str, *, limit_usd: float, retry_after_s: float, held: bool = False
    ) -> None:
        """`held`: it would, if the calls that run had not set so much of it aside."""
        when = "when calls that run now have ended" if held else "when the period is over"
        super().__init__(
            f"the budget of {account} for {period}, {limit_usd:g} USD, does not pay for this request at most; "
            f"send it again {when}, ask for fewer tokens, or raise the cap "
            "(CAP_USD_PER_DAY, CAP_USD_PER_MONTH, or the key's own in conduit.toml)"
        )
        self.account, self.period, self.limit_usd = account, period, limit_usd
        self.retry_after_s = retry_after_s


class IdempotencyConflict(ConduitError):
    """An Idempotency-Key cannot be used for this request."""


class StillRunning(ConduitError):
    """The first request of this Idempotency-Key runs."""

    def __init__(self) -> None:
        super().__init__("the request of this Idempotency-Key is still running; send it again for its answer")


class UpstreamError(ConduitError):
    """A model did not answer.

    `counts` says whether the failure is the model's own (a crash, a stall, garbage), which then counts as
    quality 0, or the operator's (a wrong key, a used-up quota), which says nothing of the model.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        counts: bool = True,
        body: bytes = b"",
        retry_after_s: float | None = None,
        server: bool = False,
    ) -> None:
        """`body` is the provider's own answer, for the caller alone; `server`: the server itself is away, whatever
        it is asked for, and the failure is not owed to this request."""
        super().__init__(message)
        self.status, self.counts, self.server = status, counts, server
        self.body, self.retry_after_s = body, retry_after_s

    @property
    def billed(self) -> bool:
        """Whether it may have cost something all the same: it was sent, and not refused."""
        return self.status is None and not self.server


class UpstreamRejected(UpstreamError):
    """The provider refused the request as malformed. `body` is its own answer."""

    def __init__(self, message: str, *, status: int, body: bytes) -> None:
        super().__init__(message, status=status, counts=False, body=body)


class UpstreamTimeout(UpstreamError):
    """The provider did not answer in time."""


TOO_MANY_REQUESTS = 429
OPERATORS = frozenset({401, 402, 403, 404, 405, 410})
"""Statuses that the operator must mend: a wrong key, an empty account, a wrong address."""


class AllModelsFailed(ConduitError):
    """Every model that was asked failed; `errors` are what each raised, in the order of `attempts`."""

    def __init__(self, attempts: "Sequence[Attempt]", errors: Sequence[UpstreamError]) -> None:
        asked = ", ".join(f"{a.model} ({a.error})" for a in attempts)
        super().__init__(f"every model that was asked failed: {asked}")
        self.attempts, self.errors = tuple(attempts), tuple(errors)

    @property
    def timed_out(self) -> bool:
        return bool(self.errors) and all(isinstance(error, UpstreamTimeout) for error in self.errors)

    @property
    def rate_limited(self) -> bool:
        return bool(self.errors) and all(error.status == TOO_MANY_REQUESTS for error in self.errors)

    @property
    def retry_after_s(self) -> float | None:
        """The shortest wait that a provider asked for."""
        return min((e.retry_after_s for e in self.errors if e.retry_after_s is not None), default=None)

    @property
    def final(self) -> bool:
        """Whether the same request, sent again at once, would be in vain."""
        lasting = any(isinstance(error, UpstreamTimeout) or error.status in OPERATORS for error in self.errors)
        return lasting or len(self.errors) > 1


class LedgerError(ConduitError):
    """The ledger refused."""


class LedgerConflict(LedgerError):
    """Somebody else wrote that entry first. Read again and retry."""


class LedgerUnavailable(LedgerError):
    """Nothing can be written just now. Retry later."""


class KeysUnavailable(LedgerUnavailable):
    """Whether a key is good cannot be looked up just now. Retry later."""
