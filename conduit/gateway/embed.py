"""Embeddings: passed through. Vectors of two models cannot be compared: nobody chooses here, and nothing is learned."""

from collections.abc import Mapping
from http import HTTPStatus

from conduit.core.catalogue import AUTO, Catalogue, Model
from conduit.core.errors import InvalidRequest, NotFound, UpstreamError
from conduit.core.protocols import Answer, Call, Clock, Provider
from conduit.gateway.fallback import Breaker, first_answer


class Embeddings:
    """Asks the one model that the caller names: of the catalogue; else `provider/model`; else any, of the one provider
    that there is."""

    def __init__(
        self, *, catalogue: Catalogue, providers: Mapping[str, Provider], clock: Clock, timeout_s: float = 60.0
    ) -> None:
        self._catalogue, self._providers, self._clock, self._timeout_s = catalogue, providers, clock, timeout_s
        self._breaker = Breaker(clock)

    async def embed(self, name: str, body: Mapping[str, object], headers: Mapping[str, str]) -> Answer:
        """Raises InvalidRequest, NotFound, AllModelsFailed, UpstreamRejected."""
        model = self._named(name)

        async def ask(_: str) -> Answer:
            try:
                return await self._providers[model.provider].embed(Call(model, body, self._timeout_s, headers))
            except UpstreamError as error:
                if error.status != HTTPStatus.NOT_FOUND or name in self._catalogue:
                    raise
                self._breaker.answered(name)  # nothing is kept of names that callers make up
                raise NotFound("model", name, param="model") from None

        answer = await first_answer([model.name], ask, attempts=[], breaker=self._breaker, clock=self._clock)
        self._breaker.answered(model.name)
        return answer

    def _named(self, name: str) -> Model:
        if name == AUTO:
            raise InvalidRequest(
                "model: embeddings of two models cannot be compared; name the one that you want", param="model"
            )
        if name in self._catalogue:
            return self._catalogue[name]
        provider, _, upstream = name.partition("/")
        if upstream and provider in self._providers:
            return Model(name, provider, upstream)
        if len(self._providers) == 1:
            return Model(name, next(iter(self._providers)))
        raise NotFound("model", name, param="model")
