"""What can be chosen: models, what they can do, what they cost."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log10, nan

from conduit.routing.errors import ConfigurationError, NotFound

ABILITIES = frozenset({"tools", "vision", "json", "files", "audio"})
AUTO = "auto"
"""The model name with which a caller asks Conduit to choose."""

MOST_FORMER = 1000
TYPICAL_INPUT_TOKENS = 500
TYPICAL_OUTPUT_TOKENS = 500


@dataclass(frozen=True, slots=True)
class Price:
    """List price in US dollars per million tokens."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_usd_per_mtok: float | None = None
    """Of input that the provider still has at hand from an earlier request; None: no less than any other."""

    written_usd_per_mtok: float | None = None
    """Of input that the provider puts into its cache; None: as any other."""
    tiers: tuple[tuple[str, float], ...] = ()
    """Service tiers, and so many times the price each; of others nobody knows, and they are paid in full."""

    def cost_usd(
        self,
        input_tokens: float,
        output_tokens: float,
        cached_tokens: float = 0.0,
        *,
        written_tokens: float = 0.0,
        tier: str | None = None,
    ) -> float:
        """`cached_tokens` and `written_tokens` are among the `input_tokens`."""
        whole = self.input_usd_per_mtok * input_tokens + self.output_usd_per_mtok * output_tokens
        plain_usd = whole / 1e6 - self.saved_usd(min(cached_tokens, input_tokens))
        if written_tokens and self.written_usd_per_mtok is not None:
            plain_usd += (self.written_usd_per_mtok - self.input_usd_per_mtok) * written_tokens / 1e6
        return plain_usd if tier is None else plain_usd * dict(self.tiers).get(tier, 1.0)

    def most_usd(self, input_tokens: float, output_tokens: float, tier: str | None = None) -> float:
        """The same where nobody knows yet what goes into a cache, nor whether `tier` is given."""
        written = 0.0 if (self.written_usd_per_mtok or 0.0) <= self.input_usd_per_mtok else input_tokens
        usd = self.cost_usd(input_tokens, output_tokens, written_tokens=written)
        return usd if tier is None else usd * max(1.0, dict(self.tiers).get(tier, 1.0))

    def saved_usd(self, cached_tokens: float) -> float:
        """What so many tokens of input cost less where the provider has them at hand."""
        if self.cached_usd_per_mtok is None:
            return 0.0
        return max(self.input_usd_per_mtok - self.cached_usd_per_mtok, 0.0) * cached_tokens / 1e6


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one provider, under the name by which callers know it."""

    name: str
    provider: str
    upstream: str = ""
    """What the provider calls it; `name` when empty."""
    price: Price | None = None
    """None is unknown, never free."""
    context_window: int | None = None
    """Tokens; None is unknown, and then no prompt is too long."""
    abilities: frozenset[str] | None = None
    """A subset of ABILITIES; None is unknown, and then nothing is refused."""

    @property
    def upstream_name(self) -> str:
        return self.upstream or self.name

    @property
    def rates(self) -> tuple[float, float]:
        """US dollars of a token in and of one out; nan where the price is unknown."""
        price = self.price
        return (nan, nan) if price is None else (price.input_usd_per_mtok / 1e6, price.output_usd_per_mtok / 1e6)

    def cost_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float | None:
        return None if self.price is None else self.price.cost_usd(input_tokens, output_tokens, cached_tokens)

    def most_usd(self, input_tokens: float, output_tokens: float, tier: str | None = None) -> float | None:
        return None if self.price is None else self.price.most_usd(input_tokens, output_tokens, tier)


@dataclass(frozen=True)
class Catalogue:
    """The models of one gateway, in a stable order. Raises ConfigurationError for two of one name."""

    models: tuple[Model, ...]
    _by_name: Mapping[str, Model] = field(init=False, repr=False, compare=False)
    _former: Mapping[str, Model] = field(init=False, repr=False, compare=False)
    """Who was here before: requests to them may still run."""

    def __init__(self, models: Iterable[Model], *, former: Iterable[Model] = ()) -> None:
        ordered = tuple(models)
        by_name = {model.name: model for model in ordered}
        if len(by_name) != len(ordered):
            twice = sorted({m.name for m in ordered if sum(m.name == o.name for o in ordered) > 1})
            raise ConfigurationError(f"models: {', '.join(twice)} is declared twice; give each model its own name")
        if AUTO in by_name:
            raise ConfigurationError(f"models: the name {AUTO!r} is taken: it asks Conduit to choose; use another name")
        object.__setattr__(self, "models", ordered)
        object.__setattr__(self, "_by_name", by_name)
        gone = [(model.name, model) for model in former if model.name not in by_name]
        object.__setattr__(self, "_former", dict(gone[-MOST_FORMER:]))

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Model:
        """Raises NotFound."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound("model", name, param="model") from None

    def known(self, name: str) -> Model | None:
        """Also one that is no longer offered."""
        return self._by_name.get(name) or self._former.get(name)

    def succeeded_by(self, models: Iterable[Model]) -> "Catalogue":
        """Of `models`, which still knows those that it no longer offers."""
        return Catalogue(models, former=(*self._former.values(), *self.models))

    @property
    def reference_cost_usd(self) -> float:
        """What a typical request costs at the dearest known price: the unit in which preferences weigh cost."""
        costs = [m.cost_usd(TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS) or 0.0 for m in self.models]
        return max(costs, default=0.0) or 1.0


class PriceDecades(Mapping[str, float]):
    """log10 of a typical request's cost with every model that was ever shown, about the mean of those shown last; 0
    where the price is unknown or nil."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._models: dict[str, Model] = {}
        self._decades: dict[str, float] = {}
        self.show(catalogue)

    def show(self, catalogue: Catalogue) -> None:
        """Prices of now. Whoever reads at the same time reads either the old or the new."""
        self._models = {**self._models, **{m.name: m for m in catalogue}}
        costs = {m.name: m.cost_usd(TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS) for m in self._models.values()}
        decades = {name: log10(cost) for name, cost in costs.items() if cost}
        shown = [decades[m.name] for m in catalogue if m.name in decades]
        mean = sum(shown) / len(shown) if shown else 0.0
        self._decades = {name: decades.get(name, mean) - mean for name in costs}

    def __getitem__(self, name: str) -> float:
        return self._decades[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decades)

    def __len__(self) -> int:
        return len(self._decades)
