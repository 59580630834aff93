"""The one place that knows who implements what."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from secrets import token_bytes, token_hex
from typing import TypeVar

from conduit.core.budget import Budget, Caps
from conduit.core.catalogue import TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS, Catalogue
from conduit.core.config import Settings, make_settings
from conduit.core.errors import ConfigurationError
from conduit.core.events import Degraded, Event
from conduit.core.features import TextFeatures
from conduit.core.protocols import Answers, Clock, Holds, Ids, KeyStore, Ledger, Listener, Purse, SnapshotStore, Window
from conduit.core.query import Preferences
from conduit.core.router import Router
from conduit.core.system import SystemClock, TimeOrderedIds
from conduit.declare import declared
from conduit.gateway.books import Books
from conduit.gateway.cashier import Cashier, make_cashier
from conduit.gateway.cashier import Terms as DollarTerms
from conduit.gateway.complete import Gateway
from conduit.gateway.embed import Embeddings
from conduit.gateway.examiner import Examiner
from conduit.gateway.fallback import Breaker
from conduit.gateway.follow import Follower
from conduit.gateway.judge import Judge, Terms, own_answers
from conduit.gateway.keyring import Keyring
from conduit.gateway.keyring import Terms as DoorTerms
from conduit.gateway.limiter import Limiter
from conduit.gateway.locksmith import Locksmith
from conduit.gateway.once import Once
from conduit.gateway.readiness import Readiness
from conduit.gateway.retries import RetryDetector
from conduit.gateway.settle import Settler
from conduit.gateway.snapshots import Snapshots
from conduit.observability.instruments import TracedFeatures, TracedProvider, traced_scripts, traced_store
from conduit.observability.logs import LogListener
from conduit.observability.setup import Telemetry
from conduit.observability.tracing import Tracer
from conduit.observability.vitals import Vitals
from conduit.providers.fleet import Fleet, gather_fleet
from conduit.stores.answers import MemoryAnswers, SqlAnswers
from conduit.stores.holds import MemoryHolds, SqlHolds
from conduit.stores.keys import MemoryKeyStore, SqlKeyStore
from conduit.stores.memory import MemoryLedger
from conduit.stores.purse import MemoryPurse, SqlPurse
from conduit.stores.snapshots import MemorySnapshots, SqlSnapshots
from conduit.stores.sql import SqlLedger
from conduit.stores.window import MemoryWindow

DAY_S = 86400.0
Stores = tuple[Ledger, Purse, KeyStore, SnapshotStore, Holds, Answers]
T = TypeVar("T")


@dataclass(slots=True)
class Conduit:
    """A whole gateway, put together and not yet started."""

    router: Router
    ledger: Ledger
    fleet: Fleet
    gateway: Gateway
    embeddings: Embeddings
    settler: Settler
    follower: Follower
    books: Books
    judge: Judge | None
    keyring: Keyring
    limiter: Limiter
    readiness: Readiness
    locksmith: Locksmith
    once: Once
    clock: Clock
    preferences: Preferences
    """Of requests that name none."""
    simulated: bool
    """Whether every model is the sandbox's."""
    started_s: float
    retries: RetryDetector | None = None
    """None: retries are not looked for."""
    cashier: Cashier | None = None
    """None: nobody is capped, and nothing is paced."""
    preferences_by_key: Mapping[str, Preferences] = field(default_factory=dict)
    """Of requests that name none, by the name of their key."""
    vitals: Vitals | None = None
    """None: nobody looks at them."""
    _background: tuple[asyncio.Task[None], ...] = ()

    def preferences_of(self, key_name: str) -> Preferences:
        """Of requests of this key that name none."""
        return self.preferences_by_key.get(key_name, self.preferences)

    async def start(self) -> None:
        """Migrate, see to the door, come to beliefs, follow. Raises LedgerUnavailable and ConfigurationError."""
        await self.ledger.open()
        await self.keyring.open()
        await self.limiter.open()
        await self.follower.begin()
        if self.cashier is not None:
            await self.cashier.open()
        self.router.welcome_unknown()
        loops = [
            each.run()
            for each in (self.follower, self.once, self.retries, self.cashier, self.vitals)
            if each is not None
        ]
        self._background = tuple(map(asyncio.create_task, loops))

    async def stop(self) -> None:
        """Write what is queued, then let go of everything."""
        try:
            for task in self._background:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await self.books.stop()
            await self.once.stop()
            if self.judge is not None:
                await self.judge.stop()
            if self.cashier is not None:
                await self.cashier.stop()
            for provider in self.fleet.providers.values():
                await provider.close()
            await self.fleet.session.close()
            await self.limiter.close()
        finally:
            await self.ledger.close()


async def assemble(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    telemetry: Telemetry | None = None,
) -> Conduit:
    """`telemetry` has started. Raises ConfigurationError that names the setting."""
    told = telemetry or LogListener()
    url = settings.database_url.get_secret_value()
    ledger = SqlLedger(url, listener=lambda loss: told(Degraded("ledger", loss)))
    database = ledger.database
    tracer = None if telemetry is None else telemetry.tracer
    kept = ledger if tracer is None else traced_store(ledger, tracer, system=url.partition(":")[0])
    beside = SqlPurse(database), SqlKeyStore(database), SqlSnapshots(database), SqlHolds(database), SqlAnswers(database)
    conduit = await _assemble(settings, environ, (kept, *beside), told, tracer)
    if telemetry is not None and telemetry.samples is not None:
        telemetry.providers.update({model.name: model.provider for model in conduit.router.catalogue})
        conduit.vitals = Vitals(
            telemetry.samples,
            models=lambda: (model.name for model in conduit.router.catalogue),
            unavailable=conduit.gateway.unavailable,
            queued=lambda: ledger.queued,
            catch_up=telemetry.catch_up,
        )
    return conduit


async def migrate(settings: Settings) -> None:
    """Bring the schema up to date. Raises LedgerUnavailable and ConfigurationError."""
    ledger = SqlLedger(settings.database_url.get_secret_value())
    await ledger.open()
    await ledger.close()


async def with_locksmith(settings: Settings, work: Callable[[Locksmith], Awaitable[T]]) -> T:
    """`work` with the keys of the database, and nothing else started."""
    ledger, clock = SqlLedger(settings.database_url.get_secret_value()), SystemClock()
    await ledger.open()
    try:
        keys = SqlKeyStore(ledger.database)
        return await work(Locksmith(keys, clock=clock, ids=TimeOrderedIds(clock), random=token_bytes))
    finally:
        await ledger.close()


async def assemble_demo(*, seed: int) -> Conduit:
    """The same gateway over the sandbox, with a ledger that is forgotten."""
    endless = {"sandbox_time_scale": 0, "feedback_weight_per_hour": 1e9}  # hours of traffic pass in a second
    settings = make_settings(file={"sandbox": "on", "seed": seed, **endless}, environ={})
    stores = MemoryLedger(), MemoryPurse(), MemoryKeyStore(), MemorySnapshots(), MemoryHolds(), MemoryAnswers()
    return await _assemble(settings, {}, stores, LogListener())


async def _assemble(
    settings: Settings,
    environ: Mapping[str, str],
    stores: Stores,
    listener: Listener,
    tracer: Tracer | None = None,
) -> Conduit:
    clock = SystemClock()
    fleet = await gather_fleet(
        environ,
        declared(settings, environ),
        sandbox=settings.sandbox,
        sandbox_time_scale=settings.sandbox_time_scale,
        now_s=clock.now_s,
    )
    for name, why in fleet.silent.items():
        listener(Degraded("provider", f"{name} did not list its models: {why}"))
    if tracer is not None:
        seen = {name: TracedProvider(name, provider, tracer) for name, provider in fleet.providers.items()}
        fleet = replace(fleet, providers=seen)
    return put_together(settings, fleet, stores, clock=clock, listener=listener, tracer=tracer)


def _limiter(settings: Settings, *, clock: Clock, listener: Listener, tracer: Tracer | None) -> Limiter:
    url = settings.redis_url.get_secret_value()
    shared: Window | None = None
    if url:
        from conduit.stores.redis import RedisWindow, connect  # a fifth of a second, for who has one

        shared = RedisWindow(connect(url), patience_s=settings.redis_patience_s)
        if tracer is not None:
            shared = traced_scripts(shared, tracer)
    return Limiter(
        shared=shared,
        local=MemoryWindow(clock),
        clock=clock,
        listener=listener,
        fails_closed=settings.rate_limit_fail_closed,
    )


def put_together(
    settings: Settings,
    fleet: Fleet,
    stores: Stores,
    *,
    clock: Clock,
    listener: Listener,
    tracer: Tracer | None = None,
) -> Conduit:
    """Everything that is ours, around what is not."""
    (ledger, purse, keys, snapshots, holds, answers), ids, catalogue = stores, TimeOrderedIds(clock), fleet.catalogue
    router = _router(settings, catalogue, clock=clock, ids=ids, tracer=tracer)
    breaker = Breaker(clock)
    limiter = _limiter(settings, clock=clock, listener=listener, tracer=tracer)
    settler = Settler(
        ledger=ledger, clock=clock, ids=ids, listener=listener, weight_per_hour=settings.feedback_weight_per_hour
    )
    retries = RetryDetector(ledger=ledger, settler=settler, listener=listener) if settings.retry_detection else None
    judge = _judge(settings, fleet, purse, breaker=breaker, settler=settler, clock=clock, listener=listener)
    cashier = make_cashier(holds, _dollars(settings), clock=clock, ids=ids, listener=listener)
    gateway = Gateway(
        router=router,
        ledger=ledger,
        providers=fleet.providers,
        breaker=breaker,
        clock=clock,
        listener=_all(listener, *([retries] if retries else [])),
        timeout_s=settings.upstream_timeout_s,
        attempts=settings.upstream_attempts,
        judge=judge,
        cashier=cashier,
    )
    follower = _follower(settings, ledger, router, snapshots, clock=clock, listener=listener)
    return Conduit(
        router=router,
        ledger=ledger,
        fleet=fleet,
        gateway=gateway,
        embeddings=Embeddings(
            catalogue=catalogue, providers=fleet.providers, clock=clock, timeout_s=settings.upstream_timeout_s
        ),
        settler=settler,
        follower=follower,
        books=_books(settings, ledger, router, follower, clock=clock, listener=listener),
        judge=judge,
        limiter=limiter,
        readiness=Readiness(ledger, limiter, catalogue),
        keyring=Keyring(keys, _door(settings), clock=clock, listener=listener),
        locksmith=Locksmith(keys, clock=clock, ids=ids, random=token_bytes),
        once=_once(settings, answers, clock=clock, ids=ids, listener=listener),
        clock=clock,
        preferences=Preferences.preset(settings.preferences),
        simulated=all(model.provider == "sandbox" for model in catalogue),
        started_s=clock.now_s(),
        retries=retries,
        cashier=cashier,
        preferences_by_key={name: key.wanted for name, key in settings.keys.items() if key.wanted is not None},
    )


def _once(settings: Settings, answers: Answers, *, clock: Clock, ids: Ids, listener: Listener) -> Once:
    ttl_s, most = settings.idempotency_ttl_s, settings.idempotency_max_size
    return Once(answers, clock=clock, ids=ids, listener=listener, ttl_s=ttl_s, most=most)


def _follower(
    settings: Settings, ledger: Ledger, router: Router, store: SnapshotStore, *, clock: Clock, listener: Listener
) -> Follower:
    return Follower(
        ledger=ledger,
        router=router,
        listener=listener,
        interval_s=settings.follow_interval_s,
        snapshots=Snapshots(store, router=router, clock=clock, listener=listener, every=settings.snapshot_every),
    )


def _dollars(settings: Settings) -> DollarTerms:
    return DollarTerms(
        Caps(settings.cap_usd_per_day, settings.cap_usd_per_month),
        Budget(settings.budget_usd_per_request, settings.budget_usd_per_day, settings.budget_usd_per_month),
        {name: (key.caps, key.budget) for name, key in settings.keys.items()},
        output_tokens=settings.cap_output_tokens,
        hold_s=settings.cap_hold_s,
    )


def _books(
    settings: Settings, ledger: Ledger, router: Router, follower: Follower, *, clock: Clock, listener: Listener
) -> Books:
    return Books(
        ledger=ledger,
        router=router,
        follower=follower,
        baseline=_baseline(settings.baseline_model, router.catalogue),
        every_s=settings.stats_interval_s,
        clock=clock,
        listener=listener,
    )


def _door(settings: Settings) -> DoorTerms:
    required_by = "API_REQUIRE_AUTH" if settings.api_require_auth else ""
    if settings.environment == "production":
        required_by = "ENVIRONMENT=production"
    api_key = settings.api_key.get_secret_value().encode()
    return DoorTerms(api_key, required_by, settings.api_key_grace_s)


def _router(settings: Settings, catalogue: Catalogue, *, clock: Clock, ids: Ids, tracer: Tracer | None) -> Router:
    return Router(
        catalogue,
        policy=settings.policy,
        seed=settings.seed,
        features=None if tracer is None else TracedFeatures(TextFeatures(), tracer),
        clock=clock,
        ids=ids,
        half_life_s=settings.half_life_days * DAY_S,
    )


def _all(*listeners: Listener) -> Listener:
    """Each is told of everything."""

    def tell(event: Event, /) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _judge(
    settings: Settings,
    fleet: Fleet,
    purse: Purse,
    *,
    breaker: Breaker,
    settler: Settler,
    clock: Clock,
    listener: Listener,
) -> Judge | None:
    named, catalogue = settings.judge_model, fleet.catalogue
    if named is None:
        return None
    if named not in catalogue:
        raise ConfigurationError(f"JUDGE_MODEL: no model is called {named!r}; see GET /v1/models")
    model = catalogue[named]
    return Judge(
        Examiner(model, fleet.providers[model.provider], breaker=breaker, timeout_s=settings.upstream_timeout_s),
        Terms(settings.judge_share, settings.judge_budget_usd_per_day),
        excluded=own_answers(model, catalogue),
        purse=purse,
        settler=settler,
        clock=clock,
        listener=listener,
        random=Random(settings.seed),  # noqa: S311  draws a sample, guards nothing
        new_mark=partial(token_hex, 8),
    )


def _baseline(named: str | None, catalogue: Catalogue) -> str:
    """The dearest model, unless one was named."""
    if named is not None and named not in catalogue:
        raise ConfigurationError(f"BASELINE_MODEL: no model is called {named!r}; see GET /v1/models")
    dearest = max(catalogue, key=lambda m: m.cost_usd(TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS) or 0.0)
    return named or dearest.name
