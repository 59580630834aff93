"""What clients see of budgets."""

from collections.abc import Sequence
from typing import Any

from conduit.core.budget import Account, Spent


def budgets_view(spent: Sequence[tuple[Account, Spent]]) -> list[dict[str, Any]]:
    return [
        {
            "account": account.name,
            "period": account.period.partition(":")[0],
            "budget_usd": account.limit_usd,
            "spent_usd": paid.usd,
            "requests": paid.requests,
        }
        for account, paid in spent
    ]
