"""Which field limits an answer's tokens: OpenAI's newer models take only the one, all others know the other."""

import re

from conduit.routing.catalogue import Model

LIMITS = ("max_completion_tokens", "max_tokens")
OPENAIS = re.compile(r"(?<![a-z0-9])gpt-?(\d+)(?![\db])|(?:^|[/:]|openai\.)o[1-9]\d?(?![a-z0-9])")
"""GPT with its number, which is none of parameters (20b), and the o series, wherever they are sold."""
FIRST_NEWER = 5
ELDER = range(30, 50)
"""How Azure's users, who have no dot, write 3.5 and 4.1."""


def limit_of(model: Model) -> str:
    """The one of LIMITS that `model` takes, by the name that its provider knows, or, where that is the operator's own
    (a deployment of Azure), by ours."""
    return LIMITS[not (_newer(model.upstream_name) or _newer(model.name))]


def _newer(name: str) -> bool:
    found = OPENAIS.search(name.lower())
    if found is None:
        return False
    number = found[1] and int(found[1])
    return not number or (number >= FIRST_NEWER and number not in ELDER)
