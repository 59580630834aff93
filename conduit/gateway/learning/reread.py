"""Observations that other features made: made anew from the prompts themselves, where those were kept."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from conduit.bandits.policy import Vector
from conduit.core.events import FeaturesChanged
from conduit.core.storage import Ledger, Unreadable
from conduit.routing.decision import Observation
from conduit.routing.features import NO_FEATURES, kept_context
from conduit.routing.protocols import Features

Observed = Sequence[tuple[int, Observation | Unreadable]]


class Rereading:
    """`features` are the router's, without a trace and without a cache: each text is looked at here once or twice, in
    a thread."""

    def __init__(self, ledger: Ledger, features: Features) -> None:
        self._ledger, self._features = ledger, features
        self._counting = True
        self._reread = self._lost = 0

    async def understood(self, observed: Observed) -> Observed:
        """Those of other features with a context of these; where there is no text as they are: beliefs pass them over.
        Raises LedgerUnavailable."""
        version = self._features.version
        read = [each for _, each in observed if isinstance(each, Observation)]
        foreign = [each.decision_id for each in read if each.features not in {version, NO_FEATURES}]
        if not foreign:
            return observed
        texts = await self._ledger.prompts(sorted(set(foreign)))
        if self._counting:
            reread = sum(name in texts for name in foreign)
            self._reread += reread
            self._lost += len(foreign) - reread
        if not texts:
            return observed
        contexts = await asyncio.to_thread(self._contexts, texts)
        return [(position, self._anew(each, contexts)) for position, each in observed]

    def told(self) -> FeaturesChanged | None:
        """How many it was until now; None: there were none. What comes later, from older workers that go on, is not
        counted."""
        found = FeaturesChanged(self._features.version, self._reread, self._lost)
        self._counting, self._reread, self._lost = False, 0, 0
        return found if found.replayed or found.lost else None

    def _contexts(self, texts: Mapping[str, str]) -> Mapping[str, Vector]:
        return {name: kept_context(self._features, text) for name, text in texts.items()}

    def _anew(self, each: Observation | Unreadable, contexts: Mapping[str, Vector]) -> Observation | Unreadable:
        if isinstance(each, Unreadable) or each.features == self._features.version or each.decision_id not in contexts:
            return each
        return replace(each, context=contexts[each.decision_id], features=self._features.version)
