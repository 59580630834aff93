"""Who is asked again, and what becomes of what it says: without a network and without waiting."""

from collections.abc import Container, Sequence
from random import Random

from conduit.core.errors import UpstreamError
from conduit.core.events import Degraded, Event, ModelsListed
from conduit.providers.discovery import Discovery
from conduit.providers.refresh import LONGEST_S, ListRefresh
from conduit.providers.spec import ProviderSpec
from conduit.routing.catalogue import Model

LAB = ProviderSpec("lab", "http://lab/v1")


def models(*names: str) -> tuple[Model, ...]:
    return tuple(Model(f"lab/{name}", "lab", name) for name in names)


class Bench:
    def __init__(self, *offered: str, silent: str = "") -> None:
        self.next: tuple[Model, ...] | UpstreamError = ()
        self.changes: list[tuple[set[str], set[str]]] = []
        self.events: list[Event] = []
        found = Discovery((LAB,), (), {"lab": models(*offered)}, (LAB,), {"lab": silent} if silent else {})
        self.refresh = ListRefresh(
            found, ask=self._ask, change=self._change, every_s=300.0, listener=self.events.append, random=Random(1)
        )

    async def _ask(self, _: ProviderSpec) -> tuple[Model, ...]:
        if isinstance(self.next, UpstreamError):
            raise self.next
        return self.next

    async def _change(self, now: Sequence[Model], resumed: Container[str]) -> None:
        names = {model.name for model in now}
        self.changes.append((names, {name for name in names if name in resumed}))

    async def hears(self, said: tuple[Model, ...] | UpstreamError) -> float:
        """Seconds until it is asked again."""
        self.next = said
        await self.refresh.look(LAB)
        return self.refresh._delay_s("lab")


async def test_silence_is_asked_ever_more_rarely_and_told() -> None:
    bench = Bench(silent="http 503")
    waits = [await bench.hears(UpstreamError("http 503")) for _ in range(8)]
    assert waits == sorted(waits)
    assert waits[0] == 4.0
    assert waits[-1] == LONGEST_S
    assert bench.refresh.silent == {"lab": "http 503"}
    assert bench.events == [Degraded("provider", "lab did not list its models: http 503")] * 8
    assert bench.changes == []


async def test_what_comes_late_was_only_out_of_sight_and_what_is_new_later_is_new() -> None:
    bench = Bench(silent="http 503")
    assert await bench.hears(models("one")) == 300.0
    await bench.hears(models("one", "two"))
    assert bench.changes == [({"lab/one"}, {"lab/one"}), ({"lab/one", "lab/two"}, set())]
    assert bench.events == [ModelsListed("lab", ("lab/one",), ()), ModelsListed("lab", ("lab/two",), ())]
    assert bench.refresh.silent == {}


async def test_two_lists_without_a_model_take_it_away_and_silence_takes_nothing() -> None:
    bench = Bench("one", "two")
    assert await bench.hears(models("two")) < 300.0
    assert bench.changes == []
    await bench.hears(UpstreamError("timed out"))
    assert bench.changes == []
    await bench.hears(models("two"))
    assert bench.changes == [({"lab/two"}, set())]


async def test_an_empty_list_is_said_and_asked_for_again_soon() -> None:
    bench = Bench()
    assert await bench.hears(()) < 300.0
    assert bench.refresh.silent == {"lab": "it lists no model for chat"}
