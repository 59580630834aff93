"""What a provider says that an answer used: one reader for all the shapes in which it is said."""

import re
from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

Said = Mapping[str, object]
NUMERAL = re.compile(r"\d{1,18}(\.0*)?")
READ = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
"""Of the input, what was in the cache, beside OpenAI's details: DeepSeek, Moonshot, Anthropic."""
WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens")
"""What was put there: Anthropic, OpenRouter, LiteLLM."""
TIER = re.compile(r"[a-z][a-z_]{0,39}")


class Usage(NamedTuple):
    """None is what was not said."""

    input_tokens: int | None = None
    """All of it, whether it was in a cache or not."""
    output_tokens: int | None = None
    """All of it, reasoning too."""
    cached_tokens: int | None = None
    written_tokens: int | None = None
    cost_usd: float | None = None

    def then(self, later: "Usage") -> "Usage":
        """With what was said later in its place."""
        return self._replace(**{name: said for name, said in later._asdict().items() if said is not None})


NOTHING = Usage()


def usage_of(data: Said) -> Usage | None:
    """Of one JSON object of an answer: where OpenAI puts it, or in the choice (Moonshot), or in `x_groq`."""
    said = data.get("usage") or _elsewhere(data)
    return _read(said) if isinstance(said, dict) else None


def tier_of(data: Said) -> str | None:
    """In which the answer was made, where the provider says so: flex, priority."""
    tier = data.get("service_tier")
    return tier if isinstance(tier, str) and TIER.fullmatch(tier) else None


def count(number: object) -> int | None:
    """A whole number of at least 0, also where it is written as 1000.0 or "1000"; None of all else."""
    if type(number) is int:  # nearly always, and no bool
        return number if number >= 0 else None
    if isinstance(number, str) and NUMERAL.fullmatch(number):
        return int(number.partition(".")[0])
    if isinstance(number, bool) or not isinstance(number, int | float) or not isfinite(number) or number < 0:
        return None
    return int(number) if number == int(number) else None


def _elsewhere(data: Said) -> object:
    choices = data.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict) and (told := choices[0].get("usage")):
        return told
    return groq.get("usage") if isinstance(groq := data.get("x_groq"), dict) else None


def _read(said: Said) -> Usage:
    details = _inner(said, "prompt_tokens_details", "input_tokens_details")
    cached, written = _most(said, READ, details), _most(said, WRITTEN, details)
    asked, answered = _both(said, (cached or 0) + (written or 0))
    return Usage(asked, answered, cached, written, _cost_usd(said))


def _both(said: Said, through_cache: int) -> tuple[int | None, int | None]:
    """Input and output. Who bills reasoning leaves it out of `completion_tokens` at times, but not out of the total."""
    asked, answered = count(said.get("prompt_tokens")), _first(said, "completion_tokens", "output_tokens")
    if asked is None and (asked := count(said.get("input_tokens"))) is not None:
        asked += through_cache if "cache_read_input_tokens" in said else 0  # Anthropic counts them beside each other
    total = count(said.get("total_tokens"))
    if total is not None and (asked is None) != (answered is None):
        rest = max(total - (asked or answered or 0), 0)
        return (rest, answered) if asked is None else (asked, rest)
    if asked is None or answered is None:
        return asked, answered
    beyond = (total or 0) - asked - answered
    if beyond == through_cache > 0:
        return asked + beyond, answered
    return asked, answered + (beyond if beyond > 0 else _reasoning_beside(said, answered))


def _reasoning_beside(said: Said, answered: int) -> int:
    """No part is more than its whole: then it stands beside it."""
    reasoning = count(_inner(said, "completion_tokens_details", "output_tokens_details").get("reasoning_tokens")) or 0
    return reasoning if reasoning > answered else 0


def _cost_usd(said: Said) -> float | None:
    """OpenRouter's dollars, and those of the caller's own key there; Perplexity's have parts."""
    cost = said.get("cost")
    if cost is None:
        return None
    cost_usd = _dollars(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if cost_usd is None or said.get("is_byok") is not True:
        return cost_usd
    return cost_usd + (_dollars(_inner(said, "cost_details").get("upstream_inference_cost")) or 0.0)


def _dollars(number: object) -> float | None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if 0 <= number <= 1e9 else None


def _inner(said: Said, *names: str) -> Said:
    for name in names:
        inner = said.get(name)
        if isinstance(inner, dict):
            return inner
    return {}


def _first(said: Said, *names: str) -> int | None:
    for name in names:
        number = count(said.get(name))
        if number is not None:
            return number
    return None


def _most(said: Said, names: tuple[str, ...], details: Said) -> int | None:
    most = None
    for where in (said, details):
        for name in names:
            if name in where and (number := count(where[name])) is not None:
                most = number if most is None else max(most, number)
    return most
