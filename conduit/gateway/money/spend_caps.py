"""Hard caps: the worst case of a call is held before it, and what it did cost is put in its place after it."""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from conduit.core.budget import GATEWAY, Account, Budget, Caps, Hold, key_account, period_end_s
from conduit.core.errors import BudgetExceeded, LedgerUnavailable
from conduit.core.events import Capped, Degraded
from conduit.core.protocols import Listener
from conduit.core.storage import ROUNDING, Reservations
from conduit.gateway.money.budget_pacers import BudgetPacers, Together
from conduit.gateway.request.exchange import Ask, counted
from conduit.gateway.request.limits import LIMITS, limit_of
from conduit.routing.catalogue import Model
from conduit.routing.protocols import Clock, Ids

WEIGHED = (*LIMITS, "n")
"""What a worst case is made of."""
SOON_S = 1.0
"""In which a call that runs may end."""
LONGEST_S = 3600.0
"""No call lasts longer: a hold that nobody settled by then is forgotten, and expires."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say of dollars: of the gateway, and of each key."""

    caps: Caps = field(default_factory=Caps)
    budget: Budget = field(default_factory=Budget)
    keys: Mapping[str, tuple[Caps, Budget]] = field(default_factory=dict)
    """By the name of the key."""
    output_tokens: int = 4096
    """The most that may be answered where the request does not say."""
    hold_s: float = 60.0
    """After which what a dead process has held is void."""


class SpendCaps:
    """Fails closed: while the database is away nobody who is capped is served. What a process that was killed had held
    and may have spent is not counted."""

    def __init__(
        self,
        holds: Reservations,
        terms: Terms,
        *,
        clock: Clock,
        ids: Ids,
        listener: Listener,
        pacers: BudgetPacers | None = None,
    ) -> None:
        self._holds, self._terms = holds, terms
        self._clock, self._ids, self._listener = clock, ids, listener
        self.pacers = pacers
        self._open: dict[str, Hold] = {}
        self._late: dict[str, tuple[Hold, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -------------------------------------------------------------- before the call

    def accounts(self, key_name: str) -> list[Account]:
        """Everyone who pays for a request of this key, and is capped."""
        now_s = self._clock.now_s()
        own, _ = self._terms.keys.get(key_name, (Caps(), None))
        return self._terms.caps.accounts(GATEWAY, now_s) + own.accounts(key_account(key_name), now_s)

    async def unaffordable(self, ask: Ask, models: Iterable[Model]) -> Mapping[str, str]:
        """Model -> why what is left does not pay for its worst case."""
        accounts = self.accounts(ask.query.key_name)
        if not accounts:
            return {}
        used = await self._holds.used(accounts, now_s=self._clock.now_s())
        left_usd, tightest = min((a.limit_usd - usd, a) for a, usd in zip(accounts, used, strict=True))
        removed = {}
        for model in models:
            worst_usd = self.worst_usd(ask, model)
            if worst_usd is None:
                removed[model.name] = f"budget: price unknown, and {tightest.name} is capped"
            elif worst_usd > left_usd + ROUNDING * tightest.limit_usd:
                removed[model.name] = (
                    f"budget: {worst_usd:.3g} USD at most, {max(left_usd, 0.0):.3g} left of {tightest.name} "
                    f"for {tightest.period}"
                )
        return removed

    async def hold(self, ask: Ask, model: Model) -> Hold | None:
        """None: nobody who pays is capped. Raises BudgetExceeded, and LedgerUnavailable."""
        accounts = self.accounts(ask.query.key_name)
        if not accounts:
            return None
        worst_usd, now_s = self.worst_usd(ask, model), self._clock.now_s()
        if worst_usd is None:
            raise self._exceeded(accounts[0], soon=False)
        hold = Hold(self._ids.new("hold"), worst_usd, now_s + self._terms.hold_s, tuple(accounts))
        short = await self._holds.take(hold, now_s=now_s)
        if short is not None:
            raise await self._exceeded_by(worst_usd, short)
        self._open[hold.id] = hold
        return hold

    async def refusal(self, ask: Ask, models: Iterable[Model]) -> BudgetExceeded:
        """Of a request that the worst case of none of `models` fits."""
        accounts = self.accounts(ask.query.key_name)
        used = await self._holds.used(accounts, now_s=self._clock.now_s())
        tightest = min(zip(accounts, used, strict=True), key=lambda each: each[0].limit_usd - each[1])[0]
        worst = (self.worst_usd(ask, model) for model in models)
        return await self._exceeded_by(min((usd for usd in worst if usd is not None), default=math.inf), tightest)

    async def _exceeded_by(self, usd: float, account: Account) -> BudgetExceeded:
        """What calls that run have set aside, and will not all take, is free again before the period is over."""
        (spent,) = await self._holds.spent([account])
        return self._exceeded(account, soon=spent.usd + usd <= account.limit_usd)

    def _exceeded(self, account: Account, *, soon: bool) -> BudgetExceeded:
        now_s = self._clock.now_s()
        self._listener(Capped(account.name, account.period))
        wait_s = SOON_S if soon else max(period_end_s(account.period, now_s) - now_s, 0.0)
        return BudgetExceeded(
            account.name, account.period, limit_usd=account.limit_usd, retry_after_s=wait_s, held=soon
        )

    def worst_usd(self, ask: Ask, model: Model) -> float | None:
        """None where the price is not known."""
        size = ask.size or len(ask.query.text.encode("utf-8", "replace")) + 64
        most = max(size, ask.query.estimated_input_tokens)  # an image that is elsewhere is more than its address
        tier = ask.body.get("service_tier")
        answers = ask.choices * self._most_tokens(ask) if ask.answers else 0
        return model.most_usd(most, answers, tier if isinstance(tier, str) else None)

    def limited(self, ask: Ask, model: Model) -> Mapping[str, object]:
        """The body, with the limit on which the worst case stands where the caller gave none, and without numbers that
        are none: a provider may read "9" as 9."""
        body = {name: value for name, value in ask.body.items() if name not in WEIGHED or counted(value)}
        if not _said(ask):
            return {**body, limit_of(model): self._terms.output_tokens}
        return ask.body if len(body) == len(ask.body) else body

    def _most_tokens(self, ask: Ask) -> int:
        return max(_said(ask), default=self._terms.output_tokens)

    # -------------------------------------------------------------- after it

    def pay(
        self, hold: Hold | None, key_name: str, cost_usd: float | None, *, keeps_hold: bool = False
    ) -> asyncio.Task[None] | None:
        """What a request did cost, by all whose account it is. A call that broke off or was given up may have been
        charged, and nobody knows how much (`keeps_hold`, or None): then it stays as it was held."""
        hold = hold or Hold(self._ids.new("hold"), 0.0, 0.0, ())
        known_usd = cost_usd or 0.0
        actual_usd = max(known_usd, hold.usd) if cost_usd is None or keeps_hold else known_usd
        paid = {account[:2]: account for account in hold.accounts}
        if self.pacers is not None:
            self.pacers.spend(key_name, actual_usd)
            paid = {account[:2]: account for account in self.pacers.accounts(key_name)} | paid
        return self.settle(replace(hold, accounts=tuple(paid.values())), actual_usd) if paid else None

    def pacer(self, key_name: str) -> Together | None:
        """None: nobody who pays has a budget."""
        return None if self.pacers is None else self.pacers.pacer(key_name)

    def settle(self, hold: Hold, actual_usd: float) -> asyncio.Task[None]:
        """Also when nobody waits for it. It does not fail: what cannot be written is written later."""
        self._late[hold.id] = hold, actual_usd
        task = asyncio.create_task(self._settle(hold.id), name="settle a hold")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _settle(self, hold_id: str) -> None:
        if hold_id not in self._late:  # whoever tries again what failed was first
            return
        hold, actual_usd = self._late.pop(hold_id)
        try:
            await self._holds.settle(hold, actual_usd=actual_usd)
        except LedgerUnavailable as error:
            self._late[hold_id] = hold, actual_usd
            self._listener(Degraded("budget", f"{type(error).__name__}: what a call did cost is written later"))
        else:
            self._open.pop(hold_id, None)

    async def open(self) -> None:
        """Raises LedgerUnavailable."""
        if self.pacers is not None:
            await self.pacers.look()

    async def run(self) -> None:
        """Until cancelled."""
        loops = [self._keep()] if self.pacers is None else [self._keep(), self.pacers.run()]
        await asyncio.gather(*loops)

    async def _keep(self) -> None:
        """Reservations of calls that run long do not expire; what could not be settled is tried again."""
        while True:
            await asyncio.sleep(self._terms.hold_s / 3.0)
            for hold_id in list(self._late):
                await self._settle(hold_id)
            now_s = self._clock.now_s()
            self._open = {id_: hold for id_, hold in self._open.items() if hold.expires_s + LONGEST_S > now_s}
            if self._open:
                until_s = now_s + self._terms.hold_s
                try:
                    await self._holds.renew(tuple(self._open), until_s=until_s)
                except LedgerUnavailable as error:
                    self._listener(Degraded("budget", f"{type(error).__name__}: holds could not be renewed"))

    async def stop(self) -> None:
        """What is being settled is settled."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


def make_spend_caps(
    holds: Reservations, terms: Terms, *, clock: Clock, ids: Ids, listener: Listener
) -> SpendCaps | None:
    """None where there is neither a cap nor a budget."""
    budgets = {name: budget for name, (_, budget) in terms.keys.items() if budget.any}
    pacers = None
    if terms.budget.any or budgets:
        pacers = BudgetPacers(holds, terms.budget, budgets, clock=clock, listener=listener)
    capped = terms.caps.any or any(caps.any for caps, _ in terms.keys.values())
    if pacers is None and not capped:
        return None
    return SpendCaps(holds, terms, clock=clock, ids=ids, listener=listener, pacers=pacers)


def _said(ask: Ask) -> list[int]:
    """The limits on output tokens that the caller gave."""
    return [limit for name in LIMITS if (limit := counted(ask.body.get(name)))]
