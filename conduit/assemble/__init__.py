"""The one place that knows who implements what."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from secrets import token_bytes
from typing import TypeVar

from conduit.assemble.conduit import Conduit
from conduit.assemble.late import make_judge, make_refresh
from conduit.assemble.parts import (
    dollar_terms,
    door_terms,
    make_embeddings,
    make_features_cache,
    make_follower,
    make_idempotency,
    make_prompts,
    make_redact,
    make_retries,
    make_router,
    make_sessions,
    make_settler,
    make_shared,
    make_stats,
    spool_terms,
    telling,
    upstream_timeouts,
)
from conduit.assemble.stores import Stores, in_database, in_memory, trace_stores
from conduit.core.aliases import check_aliases
from conduit.core.config import Settings, make_settings
from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.declare import declared
from conduit.gateway.access.authenticator import Authenticator
from conduit.gateway.access.key_admin import KeyAdmin
from conduit.gateway.learning.hashing import Hashing
from conduit.gateway.money.spend_caps import make_spend_caps
from conduit.gateway.request.breaker import Breaker
from conduit.gateway.request.complete import Beside, Gateway
from conduit.gateway.stats.readiness import Readiness
from conduit.observability.logging.logs import LogListener
from conduit.observability.metrics import metrics as m
from conduit.observability.metrics.gauges import Gauges
from conduit.observability.metrics.metrics import Metric
from conduit.observability.setup import Telemetry
from conduit.observability.tracing.instruments import TracedProvider
from conduit.observability.tracing.spans import Tracer
from conduit.providers.fleet import Fleet, gather_fleet
from conduit.routing.features_cache import CachedFeatures
from conduit.routing.protocols import Clock
from conduit.routing.query import Preferences
from conduit.routing.system import SystemClock, TimeOrderedIds
from conduit.stores.sql.keys import SqlKeyStore
from conduit.stores.sql.ledger import SqlLedger

T = TypeVar("T")


async def assemble(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    telemetry: Telemetry | None = None,
) -> Conduit:
    """`telemetry` has started. Raises ConfigurationError that names the setting."""
    told = telemetry or LogListener()
    url = settings.database_url.get_secret_value()
    ledger = SqlLedger(
        url,
        listener=lambda loss: told(Degraded("ledger", loss)),
        spool=spool_terms(settings),
        patience_s=settings.spool_after_s,
        migrates=settings.database_migrate,
        redact=make_redact(settings),
    )
    tracer = None if telemetry is None else telemetry.tracer
    stores = in_database(ledger, ledger.database)
    if tracer is not None:
        trace_stores(stores, tracer, system=url.partition(":")[0])
    conduit = await _assemble(settings, environ, stores, told, tracer)
    if telemetry is not None and telemetry.samples is not None:
        telemetry.known.providers.update({model.name: model.provider for model in conduit.router.catalogue})
        telemetry.known.baseline = lambda: conduit.stats.baseline
        conduit.gauges = Gauges(
            telemetry.samples,
            {
                m.QUEUE: lambda: ledger.queued,
                m.SPOOL: lambda: ledger.spooled,
                m.TELEMETRY_QUEUE: lambda: telemetry.waiting,
            },
            models=lambda: (model.name for model in conduit.router.catalogue),
            unavailable=conduit.gateway.unavailable,
            changed=lambda: conduit.router.beliefs.changes,
            catch_up=telemetry.catch_up,
            counts=_counts(conduit.features_cache),
        )
    return conduit


def _counts(features: CachedFeatures | None) -> Mapping[Metric, Callable[[], int]]:
    if features is None:
        return {}
    return {m.FEATURES_HITS: lambda: features.hits, m.FEATURES_MISSES: lambda: features.misses}


async def migrate(settings: Settings) -> None:
    """Bring the schema up to date. Raises LedgerUnavailable and ConfigurationError."""

    async def nothing(_: SqlLedger) -> None:
        """Opening it has migrated it."""

    await with_ledger(settings.model_copy(update={"database_migrate": True}), nothing)


async def with_ledger(settings: Settings, work: Callable[[SqlLedger], Awaitable[T]]) -> T:
    """`work` with the ledger, open, and nothing else started."""
    ledger = SqlLedger(settings.database_url.get_secret_value(), migrates=settings.database_migrate)
    await ledger.open()
    try:
        return await work(ledger)
    finally:
        await ledger.close()


async def with_key_admin(settings: Settings, work: Callable[[KeyAdmin], Awaitable[T]]) -> T:
    """`work` with the keys of the database, and nothing else started."""
    clock = SystemClock()

    async def worked(ledger: SqlLedger) -> T:
        keys = SqlKeyStore(ledger.database)
        return await work(KeyAdmin(keys, clock=clock, ids=TimeOrderedIds(clock), random=token_bytes))

    return await with_ledger(settings, worked)


async def assemble_demo(*, seed: int) -> Conduit:
    """The same gateway over the sandbox, with a ledger that is forgotten."""
    endless = {"sandbox_time_scale": 0, "feedback_weight_per_hour": 1e9}  # hours of traffic pass in a second
    settings = make_settings(file={"sandbox": "on", "seed": seed, **endless}, environ={})
    return await _assemble(settings, {}, in_memory(), LogListener())


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
        keep_alive_s=settings.upstream_keep_alive_s,
        now_s=clock.now_s,
    )
    check_aliases(settings.aliases, fleet.catalogue, may_come=fleet.found.may_come)
    for name, why in fleet.found.silent.items():
        listener(Degraded("provider", f"{name} did not list its models: {why}"))
    if tracer is not None:
        seen = {name: TracedProvider(name, provider, tracer) for name, provider in fleet.providers.items()}
        fleet = replace(fleet, providers=seen)
    conduit = put_together(settings, fleet, stores, clock=clock, listener=listener, tracer=tracer)
    conduit.aliases = settings.aliases
    return conduit


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
    ledger = stores.ledger
    ids, features, prompts = TimeOrderedIds(clock), make_features_cache(settings), make_prompts(settings)
    router = make_router(
        settings, fleet.catalogue, clock=clock, ids=ids, tracer=tracer, features=features, prompts=prompts
    )
    breaker, (limiter, cache) = Breaker(clock), make_shared(settings, clock=clock, listener=listener, tracer=tracer)
    settler = make_settler(settings, ledger, clock=clock, ids=ids, listener=listener)
    retries = make_retries(settings, ledger, settler, listener)
    judge = make_judge(settings, fleet, stores.spend, breaker=breaker, settler=settler, clock=clock, listener=listener)
    caps = make_spend_caps(stores.reservations, dollar_terms(settings), clock=clock, ids=ids, listener=listener)
    gateway = Gateway(
        router=router,
        ledger=ledger,
        providers=fleet.providers,
        breaker=breaker,
        clock=clock,
        listener=telling(listener, *([retries] if retries else [])),
        timeouts=upstream_timeouts(settings),
        deadline_s=settings.upstream_deadline_s,
        attempts=settings.upstream_attempts,
        beside=Beside(judge, caps, make_sessions(settings, ledger, clock=clock, listener=listener), cache),
    )
    follower = make_follower(settings, ledger, router, stores.snapshots, clock=clock, listener=listener)
    again = make_refresh(settings, fleet, router, follower, judge, breaker=breaker, clock=clock, listener=listener)
    return Conduit(
        router=router,
        ledger=ledger,
        fleet=fleet,
        gateway=gateway,
        embeddings=make_embeddings(settings, fleet, router, ledger, caps, clock=clock, ids=ids, listener=listener),
        settler=settler,
        follower=follower,
        stats=make_stats(settings, fleet, ledger, router, follower, clock=clock, listener=listener),
        judge=judge,
        limiter=limiter,
        readiness=Readiness(ledger, limiter, lambda: router.catalogue, lambda: again.silent, follower=follower),
        authenticator=Authenticator(stores.keys, door_terms(settings), clock=clock, listener=listener),
        key_admin=KeyAdmin(stores.keys, clock=clock, ids=ids, random=token_bytes),
        once=make_idempotency(settings, stores.answers, clock=clock, ids=ids, listener=listener),
        clock=clock,
        preferences=Preferences.preset(settings.preferences),
        simulated=fleet.is_simulated,
        started_s=clock.now_s(),
        refresh=again,
        retries=retries,
        spend_caps=caps,
        cache=cache,
        features_cache=features,
        hashing=Hashing(prompts, stores.secrets, random=token_bytes),
        preferences_by_key={name: key.wanted for name, key in settings.keys.items() if key.wanted is not None},
    )
