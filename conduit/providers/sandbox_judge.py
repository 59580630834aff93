"""A sandbox model as a judge: the simulation knows what its own answers are worth, and says so with a little error."""

import json
import re
from collections.abc import Mapping

from conduit.providers.sandbox_answers import NOTICE
from conduit.providers.sandbox_world import Character, appraise, gauss

MATERIAL = re.compile(r"<(\w+) request>\n(.*)\n<\1 answer>\n(.*)\n<\1 end>", re.DOTALL)
"""What the gateway's judge is given."""
ANSWERER = re.compile(r"Model: (\S+)\. Kind of prompt")
ERROR_SD = 0.05


def simulated_verdict(judge: Character, prompt: str, characters: Mapping[str, Character], *, seed: int) -> str | None:
    """None when nothing is to be judged, or not an answer of the sandbox."""
    material = MATERIAL.fullmatch(prompt)
    named = ANSWERER.search(material[3]) if material else None
    answerer = characters.get(named[1]) if named else None
    if material is None or answerer is None:
        return None
    asked = material[2].rpartition("[user]\n")[2].removesuffix("\n")
    error = ERROR_SD * gauss(seed, judge.model.name, "verdict", answerer.model.name, asked)
    quality = min(1.0, max(0.0, appraise(answerer, asked, seed=seed).quality + error))
    return json.dumps({"mark": material[1], "reason": NOTICE, "score": round(10 * quality, 1)})
