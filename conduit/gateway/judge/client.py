"""A model that is asked for verdicts: in a manner that it takes, at a price that is known before."""

import asyncio

from conduit.core.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from conduit.core.protocols import Answer, Call, Provider, Timeouts
from conduit.gateway.judge.prompt import MANNERS, MOST_TOKENS, Messages, most_input_tokens
from conduit.gateway.judge.transcript import Body
from conduit.gateway.request.breaker import Breaker
from conduit.gateway.request.meter import Meter, cost_usd
from conduit.routing.catalogue import Model
from conduit.routing.errors import ConfigurationError


class JudgeClient:
    """Shares the breaker with the requests: who fails as an examiner fails as a model, and the other way round."""

    def __init__(self, model: Model, provider: Provider, *, breaker: Breaker, timeouts: Timeouts) -> None:
        """Raises ConfigurationError for a model whose price is not known."""
        if model.price is None:
            raise ConfigurationError(
                f"JUDGE_MODEL: the price of {model.name} is not known, so that no budget can be kept; "
                "give its input_usd_per_mtok and output_usd_per_mtok in conduit.toml, or name another model"
            )
        self.model, self._price = model, model.price
        self._provider, self._breaker, self._timeouts = provider, breaker, timeouts
        self._manner = 0

    @property
    def available(self) -> bool:
        return self.model.name not in self._breaker.unavailable()

    def most_usd(self, messages: Messages) -> float:
        """What asking this can cost, unless the provider ignores the limit."""
        return self._price.cost_usd(most_input_tokens(messages), MOST_TOKENS)

    def cost_usd(self, answer: Answer) -> float | None:
        """None where the provider did not count."""
        meter = Meter(0)
        meter.read(answer.data)
        used = meter.used(window=self.model.context_window)
        return cost_usd(self._price, used) if used.measured else None

    async def ask(self, messages: Messages) -> Answer:
        """In the manner that was taken last time, or else in the others. Raises UpstreamError."""
        refusal = UpstreamError("not asked")
        for manner in (*MANNERS[self._manner :], *MANNERS[: self._manner]):
            try:
                answer = await self._ask_once({"messages": messages, **manner})
            except UpstreamRejected as error:
                refusal = error
            else:
                self._manner = MANNERS.index(manner)
                return answer
        raise refusal

    async def _ask_once(self, body: Body) -> Answer:
        name = self.model.name
        self._breaker.asked(name)
        try:
            async with asyncio.timeout(self._timeouts.total_s):
                answer = await self._provider.complete(Call(self.model, body, self._timeouts, {}))
        except UpstreamRejected:
            self._breaker.alive(name)  # enough to say no
            raise
        except (UpstreamError, TimeoutError) as error:
            self._breaker.failed(name)
            raise error if isinstance(error, UpstreamError) else UpstreamTimeout("timed out") from None
        self._breaker.answered(name)
        return answer
