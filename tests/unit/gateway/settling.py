"""Answers to be judged, and a look at what the judgements have taught."""

from collections.abc import Iterable

from conduit.core.events import Event
from conduit.core.storage import Ledger
from conduit.gateway.learning.settle import Settler
from conduit.routing.decision import Decision, Observation
from conduit.routing.protocols import Ids
from conduit.routing.query import Query
from conduit.routing.router import Router
from conduit.stores.memory.ledger import MemoryLedger
from conduit.testing import CountingIds, StillClock
from tests.unit.gateway.test_complete import MODELS


class Court:
    """A ledger of decisions, and a settler that is asked to judge them."""

    def __init__(
        self, *, ledger: Ledger | None = None, weight_per_hour: float = 1000.0, ids: Ids | None = None
    ) -> None:
        self.ledger: Ledger = ledger or MemoryLedger()
        self.clock, self.events = StillClock(1000.0), list[Event]()
        ids = ids or CountingIds()
        self.router = Router(MODELS, seed=1, clock=self.clock, ids=ids)
        self.settler = Settler(
            ledger=self.ledger, clock=self.clock, ids=ids, listener=self.events.append, weight_per_hour=weight_per_hour
        )

    async def decided(self, model: str, text: str = "hello", key_id: str | None = None) -> Decision:
        decision = self.router.assign(Query(text, key_id=key_id), model)
        await self.ledger.append(decision)
        return decision

    async def observations(self) -> list[Observation]:
        return [o for _, o in await self.ledger.observations(after=0, limit=100_000)]

    async def standing(self) -> dict[tuple[str, str, float | None, str | None, float | None], float]:
        """What is taught in the end: weight by decision, model, quality, rival and preference, without what is 0."""
        return sums(await self.observations())


def sums(
    observations: Iterable[Observation],
) -> dict[tuple[str, str, float | None, str | None, float | None], float]:
    found: dict[tuple[str, str, float | None, str | None, float | None], float] = {}
    for o in observations:
        what = o.decision_id, o.model, o.quality, o.rival, o.preference
        found[what] = found.get(what, 0.0) + o.weight
    return {what: weight for what, weight in found.items() if abs(weight) > 1e-12}
