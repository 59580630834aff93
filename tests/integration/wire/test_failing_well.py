"""Providers that fail in ways of their own: which model answers in their place, and what the caller is told."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.integration.wire.asking import ask, newest, outcome_of, tried
from tests.support.gateway import GatewayProcess, declared, free_port, problem
from tests.support.stub_provider import (
    DONE,
    Asked,
    Behaviour,
    StubProvider,
    completion,
    delta,
    event,
    hello,
)

ROLE = delta(role="assistant", content="")
PING = b": PROCESSING\n\n"
TOTAL_S = 6.0
"""UPSTREAM_TIMEOUT_S of the gateway; well above what any answer here takes."""


def streams(*pieces: bytes, pause_s: float = 0.0, cut: bool = False) -> Behaviour:
    async def play(asked: Asked) -> None:
        await asked.begin_stream()
        for piece in pieces:
            await asked.piece(piece)
            await asyncio.sleep(pause_s)
        if cut:
            raise ConnectionAbortedError
        await asked.end_stream()

    return play


def refuses(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    async def play(asked: Asked) -> None:
        said = {"error": {"message": "words of the provider"}} if body is None else body
        await asked.answer(json.dumps(said).encode(), status=status, headers=headers)

    return play


def whole(body: bytes) -> Behaviour:
    async def play(asked: Asked) -> None:
        await asked.answer(body)

    return play


async def drips(asked: Asked) -> None:
    """A byte each tenth of a second, and never the end."""
    await asked.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{")
    while True:
        await asked.write(b" ")
        await asyncio.sleep(0.1)


async def pings_for_long(asked: Asked) -> None:
    """Longer than TOTAL_S; not for ever, or the row would hang where the fault is, and not fail."""
    await asked.begin_stream()
    for _ in range(int(TOTAL_S * 20)):
        await asked.piece(PING)
        await asyncio.sleep(0.1)
    raise ConnectionAbortedError


async def pings_then_answers(asked: Asked) -> None:
    await asked.begin_stream()
    for piece in (PING, PING, ROLE, PING):
        await asked.piece(piece)
        await asyncio.sleep(0.3)
    for piece in (delta(content="at last"), delta("stop"), DONE):
        await asked.piece(piece)
    await asked.end_stream()


def error_choice(**fields: object) -> bytes:
    return completion("", **{"finish_reason": "error", **fields})


STREAMS: dict[str, tuple[Behaviour, str]] = {
    "05 comments, then an error": (
        streams(PING, PING, PING, event({"error": {"message": "no capacity"}}), pause_s=0.05),
        "error in stream",
    ),
    "05 a role, then an error": (streams(ROLE, event({"error": {"message": "no capacity"}})), "error in stream"),
    "05 a role, then a cut": (streams(ROLE, cut=True), "broke off"),
    "05 a role, then the end": (streams(ROLE, DONE), "broke off"),
    "05 counts, then an error": (
        streams(event({"choices": [], "usage": {"prompt_tokens": 1}}), event({"error": {"message": "x"}})),
        "error in stream",
    ),
    "05 comments, then a cut": (streams(PING, PING, cut=True), "broke off"),
    "05 nothing but comments": (pings_for_long, "timed out"),
    "06 finish_reason error": (streams(ROLE, delta("error", content="")), "error in stream"),
    "06 error in the choice": (
        streams(event({"choices": [{"index": 0, "delta": {"content": ""}, "error": {"message": "x"}}]}), DONE),
        "error in stream",
    ),
    "06 done without a finish_reason": (streams(ROLE, DONE), "broke off"),
    "06 an error with a status of its own": (
        streams(event({"error": {"message": "slow down", "code": 429}})),
        "http 429",
    ),
}
WHOLE: dict[str, tuple[Behaviour, str]] = {
    "06 finish_reason error": (whole(error_choice()), "error in answer"),
    "06 error in the choice": (
        whole(completion("half", finish_reason=None, error={"message": "overloaded"})),
        "error in answer",
    ),
    "06 error beside the choices": (
        whole(json.dumps({**json.loads(completion("half")), "error": {"message": "x"}}).encode()),
        "error in answer",
    ),
}
OTHERS: dict[str, Behaviour] = {
    "limited": refuses(429, headers={"retry-after": "7"}),
    "limited longer": refuses(429, {"error": "a string"}, {"retry-after": "90"}),
    "limited in ms": refuses(429, headers={"retry-after-ms": "1500"}),
    "unauthorised": refuses(401),
    "missing": refuses(404),
    "broken": refuses(500),
    "late": pings_then_answers,
    "drips": drips,
    "ends at content": streams(ROLE, delta(content="Once upon"), event({"error": {"message": "x"}})),
}


def named(ids: Mapping[str, Any]) -> dict[str, Behaviour]:
    """A row's id is no name of a model: its blanks go."""
    return {model(name): value[0] if isinstance(value, tuple) else value for name, value in ids.items()}


def model(row: str) -> str:
    return row.replace(" ", "-").replace(",", "")


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProvider]:
    whole_ones = {f"whole-{name}": behaviour for name, behaviour in named(WHOLE).items()}
    with StubProvider({**named(STREAMS), **named(OTHERS), **whole_ones, "good": hello}) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(stub: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    names = [*map(model, STREAMS), *(f"whole-{model(row)}" for row in WHOLE), *map(model, OTHERS)]
    models = dict.fromkeys(names, 1.0) | {"good": 50.0}
    gone = f'[providers.gone]\nbase_url = "http://127.0.0.1:{free_port()}/v1"\n'
    gone += '[[models]]\nname = "nowhere"\nprovider = "gone"\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 1\n'
    config = declared(stub.base_url, models, more=gone)
    # UPSTREAM_FIRST_CONTENT_S is of the new build alone: the old one knew only UPSTREAM_TIMEOUT_S.
    env = {"UPSTREAM_TIMEOUT_S": str(TOTAL_S), "UPSTREAM_FIRST_CONTENT_S": "2", "POLICY": "uniform", "SEED": "1"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config, env=env) as running:
        yield running


def among(*models: str) -> dict[str, object]:
    """For the body: choose among these alone."""
    return {"conduit": {"constraints": {"allow": list(models)}}}


def until_first(gateway: GatewayProcess, bad: str, **more: object) -> dict[str, Any]:
    """The outcome of the first request in which `bad` was tried: who is first is drawn."""
    for _ in range(60):
        reply = ask(gateway, **among(bad, "good"), **more)
        assert reply.status == 200, reply.body
        assert b'"error"' not in reply.body
        kept = outcome_of(gateway, reply)
        if tried(kept)[0][0] == bad:
            return kept
    raise AssertionError(f"{bad} was never tried first")


# ------------------------------------------------------------------ another model answers


@pytest.mark.parametrize("row", STREAMS)
def test_until_there_is_content_another_model_answers(gateway: GatewayProcess, row: str) -> None:
    """Comments and roles are none; and the failure is a lesson, unless it was told to be the operator's."""
    kept = until_first(gateway, model(row), stream=True)
    assert tried(kept) == [(model(row), STREAMS[row][1]), ("good", None)]
    assert kept["attempts"][0]["counts"] is (STREAMS[row][1] != "http 429")


@pytest.mark.parametrize("row", WHOLE)
def test_an_answer_that_says_it_failed_is_none(gateway: GatewayProcess, row: str) -> None:
    name = f"whole-{model(row)}"
    kept = until_first(gateway, name)
    assert tried(kept) == [(name, WHOLE[row][1]), ("good", None)]
    assert kept["attempts"][0]["counts"] is True


def test_the_first_byte_is_the_first_content(gateway: GatewayProcess) -> None:
    """05: pings come at once, the answer after more than a second."""
    reply = ask(gateway, "late", stream=True)
    assert b"at last" in reply.body
    assert outcome_of(gateway, reply)["first_byte_s"] > 1.0


def test_control_after_content_the_caller_sees_the_error(gateway: GatewayProcess) -> None:
    """05."""
    reply = ask(gateway, "ends-at-content", stream=True)
    assert b"Once upon" in reply.body
    assert b"stopped in mid-answer" in reply.body
    assert reply.body.endswith(DONE)


def test_an_answer_that_drips_is_bounded_in_all(gateway: GatewayProcess) -> None:
    """40: whatever comes, however slowly, UPSTREAM_TIMEOUT_S ends it."""
    body = problem(ask(gateway, "drips"), 504, "upstream_timeout")
    assert tried(body) == [("drips", "timed out")]
    assert TOTAL_S - 0.1 < body["attempts"][0]["latency_s"] < TOTAL_S + 4.0


# ------------------------------------------------------------------ none answers

TOLD = [
    ("09 a lone 429", ["limited"], 429, "rate_limit_exceeded", "7", None),
    ("09 a lone 429 in milliseconds", ["limited-in-ms"], 429, "rate_limit_exceeded", "2", None),
    ("26 all limited: the smallest wait", ["limited", "limited-longer"], 429, "rate_limit_exceeded", "7", None),
    ("26 a long wait is not for a client to sit out", ["limited-longer"], 429, "rate_limit_exceeded", "90", "false"),
    ("26 several failed", ["broken", "limited"], 502, "upstream_error", None, "false"),
    ("26 a wrong key upstream", ["unauthorised"], 502, "upstream_error", None, "false"),
    ("26 an unknown model upstream", ["missing"], 502, "upstream_error", None, "false"),
    ("26 control: one failed, asking again may help", ["broken"], 502, "upstream_error", None, None),
]


@pytest.mark.parametrize(
    ("models", "status", "code", "wait", "retry"), [row[1:] for row in TOLD], ids=[row[0] for row in TOLD]
)
def test_what_the_caller_is_told(
    gateway: GatewayProcess, models: list[str], status: int, code: str, wait: str | None, retry: str | None
) -> None:
    reply = ask(gateway, **among(*models)) if len(models) > 1 else ask(gateway, models[0])
    body = problem(reply, status, code)
    assert {attempt["model"] for attempt in body["attempts"]} == set(models)
    assert reply.headers.get("retry-after") == wait
    assert reply.headers.get("x-should-retry") == retry
    if "limited" in models and status == 429:
        assert "words of the provider" in body["error"]["message"]


def test_what_a_provider_said_of_its_limit_is_told_and_not_kept(gateway: GatewayProcess) -> None:
    """09."""
    problem(ask(gateway, "limited"), 429, "rate_limit_exceeded")
    assert tried(newest(gateway)["outcome"]) == [("limited", "http 429")]
    assert "words of the provider" not in gateway.said
