"""Single parts of a gateway, as settings would have them."""

import re
from functools import partial
from os import getpid
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import TYPE_CHECKING

from conduit.core.budget import Budget, Caps
from conduit.core.config import Settings
from conduit.core.events import Event
from conduit.core.protocols import Listener, Timeouts, Window
from conduit.core.storage import Answers, Cache, Ledger, SnapshotStore
from conduit.gateway.access.authenticator import Terms as DoorTerms
from conduit.gateway.access.limiter import Limiter
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.reread import Rereading
from conduit.gateway.learning.retries import RetryDetector
from conduit.gateway.learning.settle import Settler
from conduit.gateway.learning.snapshots import Snapshots
from conduit.gateway.money.spend_caps import SpendCaps
from conduit.gateway.money.spend_caps import Terms as DollarTerms
from conduit.gateway.request.cache import AnswerCache
from conduit.gateway.request.embed import Embeddings
from conduit.gateway.request.idempotency import Idempotency
from conduit.gateway.request.sessions import Sessions
from conduit.gateway.stats.stats import Stats
from conduit.observability.logging.redaction import MARGIN, Redactor
from conduit.observability.tracing.instruments import TracedFeatures, trace_calls
from conduit.observability.tracing.spans import Tracer
from conduit.providers.discovery import Discovery
from conduit.providers.fleet import Fleet
from conduit.routing.catalogue import TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS, Catalogue
from conduit.routing.errors import ConfigurationError
from conduit.routing.features import TextFeatures
from conduit.routing.features_cache import CachedFeatures
from conduit.routing.prompts import Prompts
from conduit.routing.protocols import Clock, Features, Ids
from conduit.routing.router import Router
from conduit.stores.files.spool_writer import Terms as SpoolTerms
from conduit.stores.memory.cache import MemoryCache
from conduit.stores.memory.window import MemoryWindow
from conduit.stores.sql.address import File, address
from conduit.stores.sql.texts import Redact

if TYPE_CHECKING:
    from conduit.stores.redis.line import Address

DAY_S = 86400.0


def redis_address(settings: Settings) -> "Address | None":
    url = settings.redis_url.get_secret_value()
    if not url:
        return None
    from conduit.stores.redis.line import Address  # for who has one

    return Address.parse(url)


def make_shared(
    settings: Settings, *, clock: Clock, listener: Listener, tracer: Tracer | None
) -> tuple[Limiter, AnswerCache | None]:
    """What replicas have in Redis, where there is one."""
    redis = redis_address(settings)
    limiter = make_limiter(settings, redis, clock=clock, listener=listener, tracer=tracer)
    return limiter, make_cache(settings, redis, clock=clock, listener=listener, tracer=tracer)


def make_cache(
    settings: Settings, redis: "Address | None", *, clock: Clock, listener: Listener, tracer: Tracer | None
) -> AnswerCache | None:
    if not settings.cache_enabled:
        return None
    store: Cache = MemoryCache(clock, most_bytes=settings.cache_memory)
    if redis is not None:
        from conduit.stores.redis.shared import RedisCache

        store = RedisCache(redis, patience_s=settings.redis_patience_s)
        if tracer is not None:
            trace_calls(store, tracer, "redis", store.get, store.put, within="cache.")
    return AnswerCache(
        store,
        clock=clock,
        listener=listener,
        random=token_bytes,
        ttl_s=settings.redis_cache_ttl,
        most=settings.cache_max_size,
        most_temperature=settings.cache_max_temperature,
    )


def make_limiter(
    settings: Settings, redis: "Address | None", *, clock: Clock, listener: Listener, tracer: Tracer | None
) -> Limiter:
    shared: Window | None = None
    if redis is not None:
        from conduit.stores.redis.shared import RedisWindow

        shared = RedisWindow(redis, patience_s=settings.redis_patience_s)
        if tracer is not None:
            scripts = (shared.enter, shared.hold, shared.leave)
            trace_calls(shared, tracer, "redis", *scripts, command="EVALSHA")
    return Limiter(
        shared=shared,
        local=MemoryWindow(clock),
        clock=clock,
        listener=listener,
        fails_closed=settings.rate_limit_fail_closed,
    )


def make_idempotency(
    settings: Settings, answers: Answers, *, clock: Clock, ids: Ids, listener: Listener
) -> Idempotency:
    ttl_s, most = settings.idempotency_ttl_s, settings.idempotency_max_size
    return Idempotency(answers, clock=clock, ids=ids, listener=listener, ttl_s=ttl_s, most=most)


def make_embeddings(
    settings: Settings,
    fleet: Fleet,
    router: Router,
    ledger: Ledger,
    spend_caps: SpendCaps | None,
    *,
    clock: Clock,
    ids: Ids,
    listener: Listener,
) -> Embeddings:
    return Embeddings(
        catalogue=lambda: router.catalogue,
        providers=fleet.providers,
        list_price=fleet.list_price,
        ledger=ledger,
        spend_caps=spend_caps,
        clock=clock,
        ids=ids,
        listener=listener,
        timeouts=upstream_timeouts(settings),
    )


def make_follower(
    settings: Settings, ledger: Ledger, router: Router, store: SnapshotStore, *, clock: Clock, listener: Listener
) -> Follower:
    return Follower(
        ledger=ledger,
        router=router,
        listener=listener,
        interval_s=settings.follow_interval_s,
        snapshots=Snapshots(store, router=router, clock=clock, listener=listener, every=settings.snapshot_every),
        rereading=Rereading(ledger, TextFeatures()),
        clock=clock,
    )


def make_sessions(settings: Settings, ledger: Ledger, *, clock: Clock, listener: Listener) -> Sessions | None:
    stickiness = settings.session_stickiness
    return Sessions(ledger, stickiness=stickiness, clock=clock, listener=listener) if stickiness > 0.0 else None


def spool_terms(settings: Settings) -> SpoolTerms | None:
    """None where nothing is to wait."""
    if not settings.spool_max_bytes:
        return None
    where = address(settings.database_url.get_secret_value())
    beside = where.path.parent if isinstance(where, File) else Path()
    folder = Path(settings.spool_path) if settings.spool_path else beside / "conduit-spool"
    name = f"{getpid()}-{token_hex(8)}"
    return SpoolTerms(folder, settings.spool_max_bytes, name, required=bool(settings.spool_path))


def dollar_terms(settings: Settings) -> DollarTerms:
    return DollarTerms(
        Caps(settings.cap_usd_per_day, settings.cap_usd_per_month),
        Budget(settings.budget_usd_per_request, settings.budget_usd_per_day, settings.budget_usd_per_month),
        {name: (key.caps, key.budget) for name, key in settings.keys.items()},
        output_tokens=settings.cap_output_tokens,
        hold_s=settings.cap_hold_s,
    )


def make_stats(
    settings: Settings,
    fleet: Fleet,
    ledger: Ledger,
    router: Router,
    follower: Follower,
    *,
    clock: Clock,
    listener: Listener,
) -> Stats:
    check_baseline(settings.baseline_model, fleet.catalogue, fleet.found)
    return Stats(
        ledger=ledger,
        router=router,
        follower=follower,
        baseline=partial(baseline, settings.baseline_model),
        every_s=settings.stats_interval_s,
        clock=clock,
        listener=listener,
    )


def upstream_timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        total_s=settings.upstream_timeout_s,
        connect_s=settings.upstream_connect_s,
        first_content_s=settings.upstream_first_content_s,
        idle_s=settings.upstream_idle_s,
    )


def door_terms(settings: Settings) -> DoorTerms:
    required_by = "API_REQUIRE_AUTH" if settings.api_require_auth else ""
    if settings.environment == "production":
        required_by = "ENVIRONMENT=production"
    api_key = settings.api_key.get_secret_value().encode()
    return DoorTerms(api_key, required_by, settings.api_key_grace_s)


def make_prompts(settings: Settings) -> Prompts:
    """Of a long text no more waits in memory than the redactor looks at."""
    return Prompts(settings.prompt_text, most=settings.payload_log_max_size + MARGIN)


def make_redact(settings: Settings) -> Redact | None:
    """What becomes of a prompt's text before it is kept; None where none is."""
    if settings.prompt_text != "full":
        return None
    pattern = settings.payload_log_redact
    redactor = Redactor([re.compile(pattern)] if pattern else [])
    return partial(redactor.ends, most=settings.payload_log_max_size)


def make_features_cache(settings: Settings) -> CachedFeatures | None:
    most = settings.features_cache_size
    return CachedFeatures(TextFeatures(), most=most) if most else None


def make_router(
    settings: Settings,
    catalogue: Catalogue,
    *,
    clock: Clock,
    ids: Ids,
    tracer: Tracer | None = None,
    features: Features | None = None,
    prompts: Prompts | None = None,
) -> Router:
    features = features or TextFeatures()
    return Router(
        catalogue,
        policy=settings.policy,
        seed=settings.seed,
        features=features if tracer is None else TracedFeatures(features, tracer),
        clock=clock,
        ids=ids,
        half_life_s=settings.half_life_days * DAY_S,
        prompts=prompts,
    )


def telling(*listeners: Listener) -> Listener:
    """Each is told of everything."""

    def tell(event: Event, /) -> None:
        for listener in listeners:
            listener(event)

    return tell


def make_settler(settings: Settings, ledger: Ledger, *, clock: Clock, ids: Ids, listener: Listener) -> Settler:
    weight = settings.feedback_weight_per_hour
    return Settler(ledger=ledger, clock=clock, ids=ids, listener=listener, weight_per_hour=weight)


def make_retries(settings: Settings, ledger: Ledger, settler: Settler, listener: Listener) -> RetryDetector | None:
    return RetryDetector(ledger=ledger, settler=settler, listener=listener) if settings.retry_detection else None


def baseline(named: str | None, catalogue: Catalogue) -> str:
    """The dearest model, unless one was named; empty where there is none."""
    costs = {m.name: m.cost_usd(TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS) or 0.0 for m in catalogue}
    return named or max(costs, key=lambda name: costs[name], default="")


def check_baseline(named: str | None, catalogue: Catalogue, found: Discovery) -> None:
    """Raises ConfigurationError for one that is not there, and of whom nobody is expected."""
    if named is not None and named not in catalogue and not found.may_come(named):
        raise ConfigurationError(f"BASELINE_MODEL: no model is called {named!r}; see GET /v1/models")
