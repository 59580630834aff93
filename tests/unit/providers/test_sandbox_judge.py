"""The sandbox as a judge of its own answers."""

import json

import pytest

from conduit.core.protocols import Call, Timeouts
from conduit.gateway.judge.prompt import question, verdict
from conduit.gateway.judge.transcript import Excerpt, Transcript, conversation
from conduit.providers.sandbox import SandboxProvider
from conduit.providers.sandbox_world import CHARACTERS, appraise

MODELS = {c.model.name: c.model for c in CHARACTERS}
JSON = {"response_format": {"type": "json_object"}}
"""As the gateway's judge asks."""


async def judged(answer: str, body: dict[str, object], judge: str = "sandbox/large") -> tuple[str, float | None]:
    request = conversation(body)
    assert request is not None
    transcript = Transcript("dec_1", "m", request, Excerpt())
    transcript.answer.add(answer)
    call = Call(MODELS[judge], {"messages": question(transcript, "c0ffee"), **JSON}, Timeouts(), {})
    said = await SandboxProvider(time_scale=0).complete(call)
    choices = said.data["choices"]
    assert isinstance(choices, list)
    return choices[0]["message"]["content"], verdict(said.data, "c0ffee")


@pytest.mark.parametrize("name", ["sandbox/nano", "sandbox/frontier"])
@pytest.mark.parametrize("system", [False, True])
async def test_its_verdict_is_near_what_the_answer_is_worth(name: str, system: bool) -> None:
    """Within four standard deviations of its error; and it says that it is a simulation."""
    prompt = "Prove that the square root of 2 is irrational, step by step."
    messages: list[dict[str, object]] = [{"role": "system", "content": "Be brief."}] if system else []
    body: dict[str, object] = {"messages": [*messages, {"role": "user", "content": prompt}]}
    answer = await SandboxProvider(time_scale=0).complete(Call(MODELS[name], body, Timeouts(), {}))
    choices = answer.data["choices"]
    assert isinstance(choices, list)
    text, score = await judged(choices[0]["message"]["content"], body)
    character = next(c for c in CHARACTERS if c.model.name == name)
    assert score == pytest.approx(appraise(character, prompt, seed=0).quality, abs=0.2)
    assert "simulated" in json.loads(text)["reason"]


async def test_of_an_answer_that_is_not_the_sandbox_s_it_gives_no_verdict() -> None:
    body: dict[str, object] = {"messages": [{"role": "user", "content": "hello"}]}
    assert (await judged("Good day.", body))[1] is None
