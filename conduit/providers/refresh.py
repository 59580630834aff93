"""Providers are asked again for their models: those that said nothing soon, the others now and then."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import replace
from random import Random

from conduit.core.errors import UpstreamError
from conduit.core.events import Degraded, ModelsListed
from conduit.core.protocols import Listener
from conduit.providers.discovery import Discovery
from conduit.providers.spec import ProviderSpec
from conduit.routing.catalogue import Model

FIRST_S, LONGEST_S = 2.0, 60.0
"""Between questions to one that is silent: doubled from the first to the longest."""
JITTER = 0.25
"""So much sooner or later: workers and replicas do not ask in step."""
NO_MODELS = "it lists no model for chat"

Ask = Callable[[ProviderSpec], Awaitable[tuple[Model, ...]]]
Replace = Callable[[Sequence[Model], Container[str]], Awaitable[None]]


class ListRefresh:
    """`change` is told all models when they are others than before, and which of them were only out of sight. A server
    that is away keeps its models; one that answers twice in a row without a model has lost it. Who has answered is
    asked again after `every_s`; 0: never."""

    def __init__(
        self, found: Discovery, *, ask: Ask, change: Replace, every_s: float, listener: Listener, random: Random
    ) -> None:
        self._found, self._ask, self._change, self._every_s = found, ask, change, every_s
        self._listener, self._random = listener, random
        self._silent = dict(found.silent)
        self._failures = {spec.name: int(not found.offers[spec.name]) for spec in found.asked}
        self._missing: dict[str, frozenset[str]] = {}
        self._heard = {name for name, offer in found.offers.items() if offer}
        """Who has told of some since the start: what comes first of others was out of sight only."""

    @property
    def silent(self) -> Mapping[str, str]:
        """Provider -> why its models are not known, or not known to be still there."""
        empty = {spec.name: NO_MODELS for spec in self._found.asked if not self._found.offers[spec.name]}
        return empty | self._silent

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for spec in self._found.asked:
                group.create_task(self._watch(spec))

    async def _watch(self, spec: ProviderSpec) -> None:
        while (delay_s := self._delay_s(spec.name)) > 0.0:
            await asyncio.sleep(delay_s * (1.0 + JITTER * (2.0 * self._random.random() - 1.0)))
            try:
                await self.look(spec)
            except Exception as error:  # noqa: BLE001  a loop in the background: without it the provider never comes back
                self._silence(spec.name, type(error).__name__)

    def _delay_s(self, name: str) -> float:
        if failures := self._failures[name]:
            return min(FIRST_S * 2.0 ** min(failures - 1, 30), LONGEST_S)
        return FIRST_S if self._missing.get(name) else self._every_s

    async def look(self, spec: ProviderSpec) -> None:
        """Ask once, and pass on what has changed."""
        try:
            offered = await self._ask(spec)
        except UpstreamError as error:
            self._silence(spec.name, str(error))
            return
        back = self._silent.pop(spec.name, None) is not None
        self._failures[spec.name] = 0 if offered else self._failures[spec.name] + 1
        await self._take(spec.name, self._with_missing(spec.name, offered), back=back)

    def _silence(self, name: str, why: str) -> None:
        self._silent[name] = why
        self._failures[name] += 1
        self._listener(Degraded("provider", f"{name} did not list its models: {why}"))

    def _with_missing(self, name: str, offered: tuple[Model, ...]) -> tuple[Model, ...]:
        """Also those that are missing for the first time."""
        names = {model.name for model in offered}
        gone = [model for model in self._found.offers[name] if model.name not in names]
        kept = [model for model in gone if model.name not in self._missing.get(name, ())]
        self._missing[name] = frozenset(model.name for model in kept)
        return (*offered, *kept)

    async def _take(self, name: str, offered: tuple[Model, ...], *, back: bool) -> None:
        before, after = self._found, replace(self._found, offers={**self._found.offers, name: offered})
        was, now = ({m.name: m for m in found.models} for found in (before, after))
        arrived, left = tuple(n for n in now if n not in was), tuple(n for n in was if n not in now)
        if was != now:
            await self._change(after.models, frozenset() if name in self._heard else frozenset(arrived))
        self._found = after
        if offered:
            self._heard.add(name)
        if arrived or left or back:
            self._listener(ModelsListed(name, arrived, left))
