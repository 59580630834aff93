"""What may come after the start: models of providers that were silent then, and the judge among them."""

from collections.abc import Container, Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from secrets import token_hex

from conduit.assemble.parts import upstream_timeouts
from conduit.core.config import Settings
from conduit.core.events import Degraded
from conduit.core.protocols import Listener
from conduit.core.storage import SpendStore
from conduit.gateway.judge.client import JudgeClient
from conduit.gateway.judge.judge import Judge, Terms, own_answers
from conduit.gateway.learning.follow import Follower
from conduit.gateway.learning.settle import Settler
from conduit.gateway.request.breaker import Breaker
from conduit.providers.discovery import asked_again
from conduit.providers.fleet import Fleet
from conduit.providers.refresh import ListRefresh
from conduit.providers.spec import ProviderSpec
from conduit.routing.catalogue import Catalogue, Model
from conduit.routing.errors import ConfigurationError
from conduit.routing.protocols import Clock
from conduit.routing.router import Router


def make_judge(
    settings: Settings,
    fleet: Fleet,
    purse: SpendStore,
    *,
    breaker: Breaker,
    settler: Settler,
    clock: Clock,
    listener: Listener,
) -> Judge | None:
    """Without an examiner where its model may still come. Raises ConfigurationError where it cannot."""
    named, catalogue = settings.judge_model, fleet.catalogue
    if named is None:
        return None
    if named not in catalogue and not fleet.found.may_come(named):
        raise ConfigurationError(f"JUDGE_MODEL: no model is called {named!r}; see GET /v1/models")
    judge = Judge(
        None,
        Terms(settings.judge_share, settings.judge_budget_usd_per_day),
        excluded=frozenset(),
        purse=purse,
        settler=settler,
        clock=clock,
        listener=listener,
        random=Random(settings.seed),  # noqa: S311  draws a sample, guards nothing
        new_mark=partial(token_hex, 8),
        name=named,
    )
    seat(judge, settings, fleet, catalogue, breaker=breaker)
    return judge


def seat(judge: Judge, settings: Settings, fleet: Fleet, catalogue: Catalogue, *, breaker: Breaker) -> None:
    """With the model of its name, once that is there. Raises ConfigurationError when its price is not known."""
    if judge.model not in catalogue:
        return
    model = catalogue[judge.model]
    judge.excluded = own_answers(model, catalogue)
    if judge.examiner is None:
        provider = fleet.providers[model.provider]
        judge.examiner = JudgeClient(model, provider, breaker=breaker, timeouts=upstream_timeouts(settings))


def make_refresh(
    settings: Settings,
    fleet: Fleet,
    router: Router,
    follower: Follower,
    judge: Judge | None,
    *,
    breaker: Breaker,
    clock: Clock,
    listener: Listener,
) -> ListRefresh:
    async def ask(spec: ProviderSpec) -> tuple[Model, ...]:
        return await asked_again(spec, at=datetime.fromtimestamp(clock.now_s(), UTC))

    async def change(models: Sequence[Model], resumed: Container[str]) -> None:
        await follower.replace_models((*models, *fleet.simulated), resumed=resumed)
        if judge is None:
            return
        try:
            seat(judge, settings, fleet, router.catalogue, breaker=breaker)
        except ConfigurationError as error:
            listener(Degraded("judge", str(error)))

    random = Random()  # noqa: S311  spreads questions, guards nothing
    return ListRefresh(
        fleet.found, ask=ask, change=change, every_s=settings.models_refresh_s, listener=listener, random=random
    )
