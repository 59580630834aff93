"""A change of features starts new beliefs from all decisions whose texts are kept, and says how many it lacks."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from conduit import Model, Price, Router
from conduit.core.events import Event, FeaturesChanged
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.reread import Rereading
from conduit.gateway.learning.snapshots import Snapshots
from conduit.routing.decision import Decision
from conduit.routing.features import NO_FEATURES
from conduit.routing.prompts import Prompts
from conduit.routing.system import CountingIds, StillClock
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.sql.snapshots import MemorySnapshots
from tests.support.plain import PlainFeatures

MODELS = [Model("cheap", "p", price=Price(0.1, 0.4)), Model("dear", "q", price=Price(10.0, 40.0))]


class Newer(PlainFeatures):
    """Another version, which looks at something else, and at another number of things."""

    version, blocks, dimension = "plain-2", (3, 1), 4

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()

    def context(self, text: str) -> NDArray[np.float64]:
        self.threads.add(threading.current_thread())
        return np.array([len(text) / 30.0, float("0" in text), float("7" in text), 1.0])


def router(features: PlainFeatures, mode="full") -> Router:
    clock, ids = StillClock(5.0), CountingIds()
    return Router(MODELS, seed=1, features=features, clock=clock, ids=ids, prompts=Prompts(mode))


async def taught(ledger: MemoryLedger, chooser: Router, texts: list[str]) -> list[Decision]:
    """Answers, ratings, and one that was taken back."""
    made = []
    for n, text in enumerate(texts):
        decision = chooser.choose(text)
        seen = decision.observation(quality=n / len(texts), output_tokens=9.0, latency_s=1.0)
        await ledger.append(decision, seen)
        made.append(decision)
        if n % 5 == 0:
            await ledger.append(replace(seen, weight=-1.0), replace(seen, quality=0.5))
    return made


async def started(
    ledger: MemoryLedger, chooser: Router, store: MemorySnapshots | None = None
) -> tuple[Follower, list[Event]]:
    events: list[Event] = []
    snapshots = Snapshots(
        store or MemorySnapshots(), router=chooser, clock=StillClock(5.0), listener=events.append, every=1
    )
    follower = Follower(
        ledger=ledger,
        router=chooser,
        listener=events.append,
        interval_s=60.0,
        snapshots=snapshots,
        rereading=Rereading(ledger, chooser.features),
    )
    await follower.begin()
    return follower, [event for event in events if isinstance(event, FeaturesChanged)]


TEXTS = [f"What is {n} times {n * n}?" for n in range(450)]


async def test_new_features_believe_what_they_would_had_they_always_been_there() -> None:
    ledger, newer = MemoryLedger(), router(Newer())
    made = await taught(ledger, router(PlainFeatures()), TEXTS)
    _, told = await started(ledger, newer)
    assert told == [FeaturesChanged("plain-2", len(made) + 2 * len(made[::5]), 0)]
    expected = router(Newer())
    texts = {decision.id: text for decision, text in zip(made, TEXTS, strict=True)}
    for _, each in await ledger.observations(after=0, limit=10_000):
        x = Newer().context(texts[each.decision_id]).astype(np.float32).astype(np.float64)
        expected.fold(replace(each, context=x, features="plain-2"))
    assert newer.beliefs.folded == expected.beliefs.folded > 450
    for signal, arms in expected.beliefs.state().items():
        for name, sums in arms.items():
            assert np.allclose(newer.beliefs.state()[signal][name], sums, atol=1e-9), (signal, name)


async def test_texts_are_looked_at_off_the_event_loop() -> None:
    ledger, features = MemoryLedger(), Newer()
    await taught(ledger, router(PlainFeatures()), TEXTS[:10])
    await started(ledger, router(features))
    assert features.threads
    assert threading.main_thread() not in features.threads


@pytest.mark.parametrize("mode", ["off", "hashed"])
async def test_without_texts_beliefs_start_anew_and_say_so(mode) -> None:
    ledger, newer = MemoryLedger(), router(Newer())
    await taught(ledger, router(PlainFeatures(), mode), TEXTS[:20])
    await taught(ledger, _later(router(PlainFeatures())), TEXTS[:7])
    _, told = await started(ledger, newer)
    assert told == [FeaturesChanged("plain-2", 11, 28)]
    assert newer.beliefs.folded == 7 + 4


def _later(chooser: Router) -> Router:
    """Whose ids are others."""
    ids = CountingIds()
    for _ in range(1000):
        ids.new("dec")
    chooser._ids = ids
    return chooser


async def test_features_that_stay_are_told_of_nothing_and_read_no_text() -> None:
    class Silent(MemoryLedger):
        async def prompts(self, names):
            raise AssertionError(names)

    ledger = Silent()
    await taught(ledger, router(PlainFeatures()), TEXTS[:10])
    _, told = await started(ledger, router(PlainFeatures()))
    assert told == []


async def test_the_next_start_begins_where_this_one_was() -> None:
    """With a snapshot of the new features; what older workers still write is read anew as it comes."""
    ledger, store, older = MemoryLedger(), MemorySnapshots(), router(PlainFeatures())
    await taught(ledger, older, TEXTS[:10])
    follower, told = await started(ledger, router(Newer()), store)
    assert told
    await follower._step()
    again = router(Newer())
    follower, told = await started(ledger, again, store)
    assert told == []
    folded = again.beliefs.folded
    await taught(ledger, older, TEXTS[10:13])
    await follower._step()
    assert again.beliefs.folded == folded + 3 + 2


async def test_what_comes_later_is_not_counted() -> None:
    ledger, older, newer = MemoryLedger(), router(PlainFeatures()), router(Newer())
    await taught(ledger, older, TEXTS[:4])
    rereading = Rereading(ledger, newer.features)
    await rereading.understood(await ledger.observations(after=0, limit=100))
    assert rereading.told() == FeaturesChanged("plain-2", 6, 0)
    await rereading.understood(await ledger.observations(after=0, limit=100))
    assert rereading.told() is None


async def test_an_embedding_is_of_no_features_and_not_lost_to_new_ones() -> None:
    ledger, newer = MemoryLedger(), router(Newer())
    (made,) = await taught(ledger, newer, TEXTS[:1])
    embedding = replace(made, id="dec_embedding", context=made.context[:0], features=NO_FEATURES)
    await ledger.append(embedding, embedding.observation(quality=1.0))
    _, told = await started(ledger, newer)
    assert told == []
