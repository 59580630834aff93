"""Hard caps count what may have been billed, and set aside with the field that a model takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import GatewayProcess, Reply, free_port, until
from tests.support.raw_client import RawClient
from tests.support.stub_provider import Asked, Behaviour, StubProvider, delta, event, hello

MOST_TOKENS = 14_000
"""At 10 USD a million: each call may cost .14 USD, and two of them fit under the cap."""
CAP_USD = 0.3
TIMEOUT_S = 1
SIGN = b"abcd"

# ------------------------------------------------------------------ providers


async def says_nothing(asked: Asked) -> None:
    await asked.until_left()


async def resets(asked: Asked) -> None:
    raise ConnectionAbortedError


async def talks_nonsense(asked: Asked) -> None:
    await asked.answer(b"<html>")


async def breaks_off(asked: Asked) -> None:
    await _begins(asked)
    raise ConnectionAbortedError


async def stalls(asked: Asked) -> None:
    await _begins(asked)
    await asked.until_left()


async def ends_in_an_error(asked: Asked) -> None:
    await _begins(asked)
    await asked.piece(event({"error": {"message": "overloaded", "code": 500}}))
    await asked.end_stream()


async def stops_in_the_middle_of_a_whole_answer(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{")
    raise ConnectionAbortedError


async def _begins(asked: Asked) -> None:
    await asked.begin_stream()
    for piece in (delta(role="assistant", content=""), delta(content=SIGN.decode())):
        await asked.piece(piece)


def refuses(status: int) -> Behaviour:
    async def behave(asked: Asked) -> None:
        await asked.answer(b'{"error":{"message":"no"}}', status=status)

    return behave


BILLED: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "37 no answer in time": (says_nothing, {}),
    "37 no answer in time, streamed": (says_nothing, {"stream": True}),
    "37 connection reset after the request": (resets, {}),
    "37 an answer that is none": (talks_nonsense, {}),
    "37 broke off in a whole answer": (stops_in_the_middle_of_a_whole_answer, {}),
    "37 broke off in mid-stream": (breaks_off, {"stream": True}),
    "37 fell silent in mid-stream": (stalls, {"stream": True}),
    "37 an error in mid-stream": (ends_in_an_error, {"stream": True}),
}
FREE = {f"37 control: {status} costs nothing": refuses(status) for status in (400, 401, 404, 429, 500, 503)}
LEFT: dict[str, tuple[Behaviour, dict[str, Any], bytes]] = {
    "01 a stream that its caller leaves": (stalls, {"stream": True}, SIGN),
    "01 a whole answer that its caller does not wait for": (says_nothing, {}, b""),
}
NEWER = ("gpt-5", "gpt-5-mini", "openai/gpt-5-mini", "o3", "openai/o4-mini", "gpt-6-luna")
ELDER = ("gpt-4.1", "gpt-4o-mini", "gpt-35-turbo", "openai/gpt-oss-20b", "llama-3.3", "marco-o1")

# ------------------------------------------------------------------ the gateway


def names(kind: str, rows: object) -> list[str]:
    assert isinstance(rows, dict)
    return [f"{kind}-{i}" for i in range(len(rows))]


ACCOUNTS = [*names("billed", BILLED), *names("free", FREE), *names("left", LEFT), "down", "next", "embed"]
"""A key and a model each."""


@pytest.fixture(scope="module")
def provider() -> Iterator[StubProvider]:
    behaviours = dict(zip(names("billed", BILLED), (row[0] for row in BILLED.values()), strict=True))
    behaviours |= dict(zip(names("free", FREE), FREE.values(), strict=True))
    behaviours |= dict(zip(names("left", LEFT), (row[0] for row in LEFT.values()), strict=True))
    behaviours |= {"next": says_nothing, "embed": says_nothing}
    with StubProvider(behaviours) as stub:
        yield stub


def _model(name: str, provider: str, upstream: str = "", out_usd: float = 10.0) -> str:
    prices = f"input_usd_per_mtok = {out_usd / 10}\noutput_usd_per_mtok = {out_usd}\n"
    return f'[[models]]\nname = "{name}"\nprovider = "{provider}"\nupstream = "{upstream or name}"\n{prices}'


def _config(url: str) -> str:
    servers = "".join(
        f'[providers.{name}]\nbase_url = "{address}"\napi_key_env = "FAKE_KEY"\n'
        for name, address in (("lab", url), ("openai", url), ("down", f"http://127.0.0.1:{free_port()}/v1"))
    )
    models = [_model(name, "down" if name == "down" else "lab") for name in ACCOUNTS]
    models += [_model("good", "lab", out_usd=5.0)]
    sold = [(name, seller) for name in (*NEWER, *ELDER) for seller in ("lab", "openai")]
    models += [_model(f"{name}-from-{seller}", seller, name) for name, seller in sold]
    caps = "".join(f"[keys.{name}]\ncap_usd_per_day = {CAP_USD}\n" for name in (*ACCOUNTS, "limits"))
    return "".join([servers, *models, caps])


@pytest.fixture(scope="module")
def gateway(provider: StubProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("caps")
    env = {"API_KEY": "admin-of-the-caps", "UPSTREAM_TIMEOUT_S": str(TIMEOUT_S), "POLICY": "uniform", "SEED": "1"}
    with GatewayProcess(folder, config=_config(provider.base_url), env=env) as running:
        yield running


def key_of(gateway: GatewayProcess, name: str) -> dict[str, str]:
    made = gateway.post("/v1/keys", {"name": name}, {"authorization": "Bearer admin-of-the-caps"})
    return {"authorization": f"Bearer {made.json['secret']}"}


@pytest.fixture(scope="module")
def limits_key(gateway: GatewayProcess) -> dict[str, str]:
    return key_of(gateway, "limits")


def body_of(model: str, **more: object) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": MOST_TOKENS, **more}


def chat(gateway: GatewayProcess, key: dict[str, str], model: str, **more: object) -> Reply:
    return gateway.post("/v1/chat/completions", body_of(model, **more), key)


def code(reply: Reply) -> str | None:
    return reply.json["error"].get("code") if reply.status >= 400 else None


# ------------------------------------------------------------------ what is held


@pytest.mark.parametrize(("nth", "row"), list(enumerate(BILLED.values())), ids=BILLED)
def test_what_may_have_been_billed_keeps_its_hold(
    gateway: GatewayProcess, provider: StubProvider, nth: int, row: tuple[Behaviour, dict[str, Any]]
) -> None:
    name, (_, more) = f"billed-{nth}", row
    key = key_of(gateway, name)
    replies = [chat(gateway, key, name, **more) for _ in range(4)]
    assert [reply.status == 429 for reply in replies] == [False, False, True, True]
    assert code(replies[-1]) == "budget_exceeded"
    assert len(provider.of(name)) == 2


@pytest.mark.parametrize(("nth", "behaviour"), list(enumerate(FREE.values())), ids=FREE)
def test_a_refusal_costs_nothing(
    gateway: GatewayProcess, provider: StubProvider, nth: int, behaviour: Behaviour
) -> None:
    name = f"free-{nth}"
    key = key_of(gateway, name)
    replies = [chat(gateway, key, name) for _ in range(4)]
    assert "budget_exceeded" not in map(code, replies)
    assert len(provider.of(name)) == 4


def test_37_control_a_provider_that_is_not_there_costs_nothing(gateway: GatewayProcess) -> None:
    key = key_of(gateway, "down")
    assert {code(chat(gateway, key, "down")) for _ in range(4)} == {"upstream_error"}


@pytest.mark.parametrize(("nth", "row"), list(enumerate(LEFT.values())), ids=LEFT)
def test_what_is_left_keeps_its_hold(
    gateway: GatewayProcess, provider: StubProvider, nth: int, row: tuple[Behaviour, dict[str, Any], bytes]
) -> None:
    name, (_, more, sign) = f"left-{nth}", row
    key = key_of(gateway, name)
    for i in (1, 2):
        with RawClient(gateway.port) as client:
            client.post("/v1/chat/completions", body_of(name, **more), f"authorization: {key['authorization']}")
            if sign:
                client.until(sign)
            provider.wait_until(lambda wanted=i: len(provider.of(name)) == wanted)
            client.leave()
        until(lambda wanted=i: ended(gateway, key) == wanted)
    assert code(chat(gateway, key, name, **more)) == "budget_exceeded"
    assert len(provider.of(name)) == 2


def ended(gateway: GatewayProcess, key: dict[str, str]) -> int:
    return sum(bool(each["outcome"]) for each in gateway.get("/v1/decisions", key).json["data"])


def test_37_the_hold_of_a_model_that_failed_stays_when_the_next_one_answers(
    gateway: GatewayProcess, provider: StubProvider
) -> None:
    """The first is held with .14 USD and times out, the second with .07, and costs next to nothing. Who is first is
    drawn; after two holds there is room for neither."""
    key = key_of(gateway, "next")
    chat(gateway, key, "good")  # or it would be a newcomer, with a share of its own
    for _ in range(60):
        reply = chat(gateway, key, "auto", conduit={"constraints": {"allow": ["next", "good"]}})
        if code(reply) == "budget_exceeded" or len(provider.of("next")) > 2:
            break
    assert (code(reply), len(provider.of("next"))) == ("budget_exceeded", 2)
    tokens = 7 * 0.5e-6 + 3 * 5e-6
    assert len(provider.of("good")) * tokens < 0.01


def test_37_embeddings_that_were_not_answered_in_time_keep_their_hold(
    gateway: GatewayProcess, provider: StubProvider
) -> None:
    """150,000 bytes at 1 USD a million: two fit under the cap, less a little."""
    key = key_of(gateway, "embed")
    replies = [gateway.post("/v1/embeddings", {"model": "embed", "input": "a" * 140_000}, key) for _ in range(4)]
    assert [code(reply) == "budget_exceeded" for reply in replies] == [False, False, True, True]
    assert len(provider.of("embed")) == 2


# ------------------------------------------------------------------ with which field


@pytest.mark.parametrize(
    ("name", "seller"),
    [
        *(pytest.param(name, "lab", id=f"{name} from another") for name in NEWER),
        *(pytest.param(name, "openai", id=f"control: {name} from openai") for name in NEWER),
        *(pytest.param(name, "lab", id=f"control: {name} from another") for name in ELDER),
        *(pytest.param(name, "openai", id=f"{name} from openai") for name in ELDER),
    ],
)
def test_20_the_limit_of_a_cap_has_the_name_that_the_model_knows(
    gateway: GatewayProcess, provider: StubProvider, limits_key: dict[str, str], name: str, seller: str
) -> None:
    provider.forget()
    provider.behaviours.setdefault(name, hello)
    body = {"model": f"{name}-from-{seller}", "messages": [{"role": "user", "content": "hi"}]}
    assert gateway.post("/v1/chat/completions", body, limits_key).status == 200
    (asked,) = provider.of(name)
    wanted, other = ("max_completion_tokens", "max_tokens")[:: 1 if name in NEWER else -1]
    assert asked.json[wanted] > 0
    assert other not in asked.json
