"""Which answer a caller means: by the decision's id, the provider's id of the answer, or the request's own id."""

from conduit.core.storage import Ledger
from conduit.routing.decision import Record


async def found(ledger: Ledger, name: str, *, key_id: str | None, caller_id: str | None) -> Record | None:
    """With `key_id` among the decisions of that key only; x-request-ids, which anybody may choose, always among those
    of the caller's own key, and the latest of several. Raises LedgerUnavailable."""
    record = await ledger.find(name, key_id=key_id)
    return await ledger.requested(name, key_id=caller_id) if record is None else record
