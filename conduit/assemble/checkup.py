"""What a start would find: settings, providers, prices, database, schema, keys, Redis. Looking changes nothing."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from conduit.assemble.parts import check_baseline, door_terms, make_router
from conduit.assemble.remarks import Remark, on_keys, remarks
from conduit.core.aliases import check_aliases
from conduit.core.config import Settings, covered
from conduit.core.errors import LedgerError, UpstreamError, WindowUnavailable
from conduit.declare import declared
from conduit.providers.discovery import Discovery, discover
from conduit.providers.fleet import SANDBOX
from conduit.providers.listing import list_models
from conduit.providers.sandbox import sandbox_models
from conduit.providers.spec import ProviderSpec
from conduit.routing.catalogue import Catalogue
from conduit.routing.errors import ConfigurationError
from conduit.routing.protocols import Clock
from conduit.routing.system import SystemClock, TimeOrderedIds
from conduit.stores.sql.address import File, address
from conduit.stores.sql.keys import SqlKeyStore
from conduit.stores.sql.ledger import SqlLedger
from conduit.stores.sql.migrate import HEAD

WITHIN_S = 30.0
"""Longer than any single question is allowed to take."""
MOST_NAMES = 5
AGAIN = "wait: a gateway that runs asks it again"


class State(StrEnum):
    OK = "ok"
    LOOK = "look"
    """It starts and serves, and perhaps not as was meant."""
    WRONG = "wrong"
    """It does not start, or does not serve."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. No text of a driver's, no address and no secret."""

    name: str
    state: State
    said: str
    remedy: str = ""


async def checkup(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """In the order in which a start would come to them."""
    clock = SystemClock()
    parts = await asyncio.gather(
        _in_time("providers", _providers(settings, environ, clock)),
        _in_time("database", _database(settings, clock)),
        _in_time("redis", _redis(settings)),
    )
    looked = _looked(remarks(settings, environ))
    return [finding for part in (looked, *parts) for finding in part]


def _looked(found: Iterable[Remark]) -> list[Finding]:
    return [Finding(each.name, State.LOOK, each.said, each.remedy) for each in found]


async def _in_time(name: str, looking: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(WITHIN_S):
            return await looking
    except TimeoutError:
        return [Finding(name, State.WRONG, f"no answer within {WITHIN_S:g} s", "look at the network in between")]


# ------------------------------------------------------------------ who answers


async def _providers(settings: Settings, environ: Mapping[str, str], clock: Clock) -> list[Finding]:
    at = datetime.fromtimestamp(clock.now_s(), UTC)
    try:
        found = await discover(environ, declared(settings, environ), at=at)
        models = list(found.models)
        simulated = settings.sandbox == "on" or (settings.sandbox == "auto" and not found.providers)
        if simulated:
            models += sandbox_models()
        catalogue = Catalogue(models)
    except ConfigurationError as error:
        return [Finding("providers", State.WRONG, str(error))]
    answers = await asyncio.gather(*(_provider(spec, found) for spec in found.providers))
    if simulated:
        real = "" if found.providers else "set OPENAI_API_KEY or another for real ones: see README"
        answers.append(Finding(SANDBOX, State.OK if found.providers else State.LOOK, "simulated models", real))
    if not len(catalogue):
        return [*answers, _none(found)]
    return [*answers, _models(settings, found, catalogue, clock), _prices(catalogue)]


def _none(found: Discovery) -> Finding:
    if not found.asked:
        return Finding("models", State.WRONG, "none", "set OPENAI_API_KEY or another, or SANDBOX=on")
    names = ", ".join(spec.name for spec in found.asked)
    return Finding("models", State.WRONG, f"none yet: it starts, and is not ready until {names} lists some")


async def _provider(spec: ProviderSpec, found: Discovery) -> Finding:
    """Whether it answers, and takes the key: by its list of models, which costs nothing."""
    offers = sum(model.provider == spec.name for model in found.models)
    said = f"{offers} models" if offers != 1 else "1 model"
    try:
        await list_models(spec)
    except UpstreamError as error:
        return _refused(spec.name, error, said, again=spec in found.asked)
    if not offers and spec in found.asked:
        return Finding(spec.name, State.LOOK, "answers, and lists no model for chat", f"{AGAIN}, or declare [[models]]")
    return Finding(spec.name, State.OK, f"answers, {said}")


def _refused(name: str, error: UpstreamError, said: str, *, again: bool = False) -> Finding:
    if error.status in {401, 403}:
        return Finding(name, State.WRONG, f"{error}: it does not take the key", "set the key anew, without blanks")
    if again:
        return Finding(name, State.WRONG, f"{error}: it did not list its models", f"{AGAIN}, or look at its base URL")
    if error.status in {404, 405}:
        return Finding(name, State.LOOK, f"answers, {said}; does not list its models", "look at its base URL")
    return Finding(name, State.WRONG, f"{error}", "look at its base URL, and whether it runs")


def _models(settings: Settings, found: Discovery, catalogue: Catalogue, clock: Clock) -> Finding:
    try:
        check_aliases(settings.aliases, catalogue, may_come=found.may_come)
        make_router(settings, catalogue, clock=clock, ids=TimeOrderedIds(clock))
        check_baseline(settings.baseline_model, catalogue, found)
    except ConfigurationError as error:
        return Finding("models", State.WRONG, str(error))
    judge = settings.judge_model
    if judge is not None and judge not in catalogue and not found.may_come(judge):
        return Finding("models", State.WRONG, f"JUDGE_MODEL: no model is called {judge!r}")
    return Finding("models", State.OK, f"{len(catalogue)} to choose from, by {settings.policy}")


def _prices(catalogue: Catalogue) -> Finding:
    unknown = [model.name for model in catalogue if model.price is None]
    if not unknown:
        return Finding("prices", State.OK, "known of every model")
    more = f" and {len(unknown) - MOST_NAMES} more" if len(unknown) > MOST_NAMES else ""
    return Finding(
        "prices",
        State.LOOK,
        f"not known of {', '.join(unknown[:MOST_NAMES])}{more}",
        "without one a model is not asked under a cap and saves nothing: give input_usd_per_mtok and "
        "output_usd_per_mtok in [[models]]",
    )


# ------------------------------------------------------------------ where it is kept


async def _database(settings: Settings, clock: Clock) -> list[Finding]:
    url = settings.database_url.get_secret_value()
    try:
        where = address(url)
        if isinstance(where, File) and not where.path.exists():
            made = Finding("database", State.OK, "SQLite; the file is made at the first start")
            named = _looked(on_keys(settings, []))
            return [made, Finding("schema", State.OK, "made with it"), _door(settings, usable=0), *named]
        ledger = SqlLedger(url)
    except ConfigurationError as error:
        return [Finding("database", State.WRONG, str(error))]
    kind = "SQLite" if isinstance(where, File) else "PostgreSQL"
    try:
        revision = await ledger.revision()
        keys = [] if revision is None else await SqlKeyStore(ledger.database).list()
    except ConfigurationError as error:
        return [Finding("database", State.WRONG, str(error), "mend DATABASE_URL, or what it names")]
    except LedgerError as error:
        return [Finding("database", State.WRONG, str(error), "start it, or mend DATABASE_URL")]
    finally:
        await ledger.close()
    usable = sum(entry.usable(clock.now_s()) for entry in keys)
    named = _looked(on_keys(settings, keys))
    return [Finding("database", State.OK, f"{kind} answers"), _schema(revision), _door(settings, usable=usable), *named]


def _schema(revision: str | None) -> Finding:
    if revision is not None and revision > HEAD:
        newer = f"{revision}, and this Conduit knows {HEAD} at most"
        return Finding("schema", State.WRONG, newer, "upgrade Conduit")
    if revision != HEAD:
        said = "none yet" if revision is None else f"{revision}, {HEAD} is wanted"
        return Finding("schema", State.LOOK, said, "`conduit migrate` brings it, or the next start does")
    return Finding("schema", State.OK, f"{revision}, as this Conduit wants it")


def _door(settings: Settings, *, usable: int) -> Finding:
    terms = door_terms(settings)
    own = ["API_KEY"] if terms.api_key else []
    said = " and ".join([*own, *([f"{usable} keys" if usable != 1 else "1 key"] if usable else [])])
    if said:
        paths = ", ".join(covered(settings.api_protected_prefixes))
        return Finding("door", State.OK, f"opens to {said}, and stands before {paths}")
    remedy = "set API_KEY, or `conduit keys create NAME`"
    if terms.required_by:
        return Finding("door", State.WRONG, f"{terms.required_by}: nobody could be let in", remedy)
    return Finding("door", State.LOOK, "open: nobody is asked for a key", remedy)


async def _redis(settings: Settings) -> list[Finding]:
    url = settings.redis_url.get_secret_value()
    if not url:
        return [Finding("redis", State.OK, "none: each process counts limits for itself")]
    from conduit.stores.redis.line import Address
    from conduit.stores.redis.shared import RedisWindow

    remedy = "start it, or mend REDIS_URL"
    try:
        window = RedisWindow(Address.parse(url))
        await window.open()
    except ConfigurationError as error:
        return [Finding("redis", State.WRONG, str(error))]
    except WindowUnavailable:
        after = "nobody is served" if settings.rate_limit_fail_closed else "each process counts limits for itself"
        return [Finding("redis", State.WRONG, f"does not answer, and without it {after}", remedy)]
    await window.close()
    return [Finding("redis", State.OK, "answers: limits are counted together")]
