"""The router: pure, synchronous, seeded. It chooses, and it learns; it knows no network, no database and no clock."""

from collections.abc import Container, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType

import numpy as np

from conduit.bandits.policy import Vector
from conduit.bandits.schedule import Schedule
from conduit.routing.beliefs import Beliefs
from conduit.routing.catalogue import Catalogue, Model
from conduit.routing.choice import Choice, choose, forecast, weigh
from conduit.routing.decision import Candidate, Decision, Observation
from conduit.routing.errors import NoEligibleModel
from conduit.routing.features import TextFeatures, kept_context
from conduit.routing.policies import DEFAULT_POLICY, make_pacer
from conduit.routing.prompts import Prompts
from conduit.routing.protocols import Clock, Features, Ids, Pacing
from conduit.routing.query import Query
from conduit.routing.system import SystemClock, TimeOrderedIds

HALF_LIFE_S = 30 * 86400.0
NOBODY: Mapping[str, str] = MappingProxyType({})


class Router:
    """Which model should answer which prompt.

    `models` is who can be chosen; `policy` a name from policies.POLICIES; `budget_usd` the mean US dollars a
    request that may be spent over an open-ended stream (None: no budget); `seed` fixes every draw; an observation
    counts half when one decided `half_life_s` later counts whole (0: nothing is forgotten); `prompts` says what of a
    prompt a decision remembers.

    >>> from conduit import Model, Price, Router
    >>> router = Router([Model("a", "p", price=Price(1, 2)), Model("b", "p", price=Price(10, 20))], seed=1)
    >>> decision = router.choose("What is 2 + 2?")
    >>> router.learn(decision.observation(quality=0.9, output_tokens=12))
    """

    def __init__(
        self,
        models: Iterable[Model],
        *,
        policy: str = DEFAULT_POLICY,
        budget_usd: float | None = None,
        seed: int | None = None,
        features: Features | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        half_life_s: float = HALF_LIFE_S,
        schedule: Schedule | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        self.catalogue = models if isinstance(models, Catalogue) else Catalogue(models)
        self.features: Features = features or TextFeatures()
        self.policy_name, self.half_life_s = policy, half_life_s
        self.beliefs = Beliefs(policy, self.features, self.catalogue, half_life_s=half_life_s, schedule=schedule)
        self._pacer = make_pacer(policy, budget_usd) if budget_usd is not None else None
        self._random = np.random.default_rng(seed)
        self._clock, self._ids = clock or SystemClock(), ids or TimeOrderedIds()
        self._prompts = prompts or Prompts()

    # -------------------------------------------------------------- choosing

    def choose(
        self,
        query: Query | str,
        *,
        unavailable: Mapping[str, str] = NOBODY,
        unaffordable: Mapping[str, str] = NOBODY,
        pacer: Pacing | None = None,
    ) -> Decision:
        """Draw a model for `query`. `unavailable` says who is unhealthy, and why; `unaffordable` for whom no dollars
        are left. `pacer` holds the budget of who pays for it, in the place of the router's own.

        Raises NoEligibleModel when the requirements leave nobody.
        """
        if not len(self.catalogue):
            raise NoEligibleModel({})
        query = Query(query) if isinstance(query, str) else query
        x = self._context(query)
        choice = choose(
            x,
            query,
            self.catalogue.models,
            self.beliefs,
            pacer=pacer or self._pacer,
            unavailable=unavailable,
            unaffordable=unaffordable,
            random=self._random,
        )
        return self._decision(query, x, choice, routed=True)

    def assign(self, query: Query, model: str) -> Decision:
        """The decision that a caller made who named the `model`. Raises NotFound for a name not in the catalogue."""
        x, price = self._context(query), self.shadow_price
        expected = forecast(x, query, [self.catalogue[model]], self.beliefs)
        (named,) = weigh(x, expected, query.preferences, self.beliefs, shadow_price=price, incumbent=query.incumbent)
        return self._decision(query, x, Choice(named, [named], {}, price), routed=False)

    def _context(self, query: Query) -> Vector:
        return kept_context(self.features, query.text)

    def _decision(self, query: Query, x: Vector, choice: Choice, *, routed: bool) -> Decision:
        drawn, shadow_price = choice.drawn, choice.shadow_price
        ranked = sorted(choice.candidates, key=attrgetter("utility"), reverse=True)
        remembered = self._prompts(query.text)
        return Decision(
            id=self._ids.new("dec"),
            time_s=self._clock.now_s(),
            model=drawn.model,
            propensity=drawn.probability,
            candidates=tuple(ranked),
            removed=choice.removed,
            why=_why(drawn, ranked, shadow_price) + _of_session(drawn, ranked, query)
            if routed
            else "the caller named it",
            policy=self.policy_name,
            routed=routed,
            context=x,
            features=self.features.version,
            domain=self.features.domain(x),
            input_tokens=query.estimated_input_tokens,
            shadow_price=shadow_price,
            key_id=query.key_id,
            user_id=query.user_id,
            session_id=query.session_id,
            prompt_hash=remembered.hash,
            prompt=remembered.text,
            request_id=query.request_id,
        )

    @property
    def shadow_price(self) -> float:
        """Utility per US dollar that the budget asks for just now."""
        return self._pacer.price if self._pacer is not None else 0.0

    # -------------------------------------------------------------- who can be chosen

    def replace_models(self, models: Iterable[Model], *, resumed: Container[str] = ()) -> None:
        """From now on these are who can be chosen. Prices count at once. A model that nobody has seen yet is expected
        to be like the others at its price, and gets a share that grows with its answers; what was learned of one that
        leaves is kept, and doubted more when it returns. Of those that come, `resumed` were only out of sight, and are
        taken for what they were.

        Slow (tens of milliseconds); safe beside `choose` in another thread, not beside `fold`.
        """
        catalogue = self.catalogue.succeeded_by(models)
        arrived = [m.name for m in catalogue if m.name not in self.catalogue and m.name not in resumed]
        self.beliefs.newcomers.welcome(arrived, self.beliefs.seen)
        self.beliefs.replace_catalogue(catalogue)
        self.beliefs.refresh()
        self.catalogue = catalogue

    # -------------------------------------------------------------- learning

    def learn(self, observation: Observation) -> None:
        """Fold one observation, and renew the beliefs when that is due."""
        self.fold(observation)
        if self.beliefs.stale:
            self.beliefs.refresh()

    def fold(self, observation: Observation) -> None:
        """Fold without renewing, for who renews the beliefs elsewhere."""
        self.beliefs.fold(observation)
        if self._pacer is not None and observation.cost_usd is not None:
            self._pacer.spend(observation.cost_usd)


def _why(drawn: Candidate, ranked: Sequence[Candidate], shadow_price: float) -> str:
    if shadow_price > 0.0:
        return f"{_why(drawn, ranked, 0.0)}; under a budget a dollar must be worth {shadow_price:.4g} more of quality"
    if len(ranked) == 1:
        return "the only eligible model"
    best, second = ranked[:2]
    if drawn is best:
        return f"best expected utility, {drawn.utility - second.utility:.3f} above {second.model}"
    behind = f"{best.model} is expected to be {best.utility - drawn.utility:.3f} better"
    return f"explored with probability {drawn.probability:.3f}; {behind}"


def _of_session(drawn: Candidate, ranked: Sequence[Candidate], query: Query) -> str:
    """What the session's last model had to do with it; nothing where it could not be drawn."""
    incumbent = query.incumbent
    if incumbent is None or all(c.model != incumbent.model for c in ranked):
        return ""
    if drawn.model != incumbent.model:
        return f"; a switch from {incumbent.model}, the session's last"
    return f"; the session's last, from which a switch had to gain {incumbent.stickiness:.3g} of quality"
