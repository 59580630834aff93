"""What is remembered of a provider's 400, and what is not."""

import pytest

from conduit.core.errors import UpstreamRejected
from conduit.gateway.request.exchange import Ask
from conduit.gateway.request.rejections import Rejections, mark_of
from conduit.routing.query import Query, Requirements
from conduit.routing.system import StillClock

PLAIN = {"model": "auto", "messages": []}


def ask(*needs: str, key: str | None = None, **body: object) -> Ask:
    return Ask(Query("hello", requirements=Requirements(needs=frozenset(needs)), key_id=key), {**PLAIN, **body})


def refusal(body: bytes = b"", status: int = 400) -> UpstreamRejected:
    return UpstreamRejected(f"http {status}", status=status, body=body)


@pytest.mark.parametrize(
    ("error", "asked", "mark"),
    [
        (refusal(), ask(), "plain requests"),
        (refusal(b"<html>"), ask(), "plain requests"),
        (refusal(b"[]"), ask(), "plain requests"),
        (refusal(b'{"error":"no"}'), ask(), "plain requests"),
        (refusal(), ask("tools", tools=[1]), "requests with tools"),
        (refusal(), ask("vision", seed=1), "requests with seed and vision"),
        (refusal(b'{"error":{"param":"seed"}}'), ask(seed=1, stop="a"), "seed"),
        (refusal(b'{"error":{"param":"tools[0].function"}}'), ask("tools", tools=[1], seed=1), "tools"),
        (refusal(b'{"error":{"param":"response_format.json_schema"}}'), ask(response_format={}), "response_format"),
        (refusal(b'{"error":{"param":"seed"}}'), ask(), "plain requests"),
        (refusal(b'{"error":{"param":["x"]}}'), ask(), "plain requests"),
        (refusal(), ask(secret_of_mine=1), "requests with another parameter"),
        (refusal(b'{"error":{"code":"context_length_exceeded"}}'), ask(), None),
        (refusal(b'{"error":{"code":"content_filter"}}'), ask(), None),
        (refusal(status=413), ask(), None),
    ],
)
def test_a_rejection_is_of_a_kind(error: UpstreamRejected, asked: Ask, mark: str | None) -> None:
    assert mark_of(error, asked) == mark


def remembering() -> tuple[Rejections, StillClock, list[tuple[str, str]]]:
    clock, told = StillClock(), list[tuple[str, str]]()
    return Rejections(clock, lambda model, kind: told.append((model, kind))), clock, told


def test_three_close_it_for_that_caller_and_kind_and_it_is_announced_once() -> None:
    rejections, _, told = remembering()
    for _ in range(5):
        rejections.rejected("a", refusal(), ask(seed=1, key="ann"))
    assert set(rejections.unavailable(ask(seed=1, key="ann"))) == {"a"}
    assert not rejections.unavailable(ask(key="ann"))
    assert not rejections.unavailable(ask(seed=1, key="bob"))
    assert told == [("a", "requests with seed")]


def test_after_a_rest_one_request_probes() -> None:
    rejections, clock, _ = remembering()
    for _ in range(3):
        rejections.rejected("a", refusal(), ask())
    clock.at_s = 60.1
    assert not rejections.unavailable(ask())
    rejections.asked("a", ask())
    assert rejections.unavailable(ask())
    rejections.accepted("a", ask())
    assert not rejections.unavailable(ask())


def test_an_accepted_request_clears_its_parameters_and_no_others() -> None:
    rejections, _, _ = remembering()
    for _ in range(3):
        rejections.rejected("a", refusal(b'{"error":{"param":"seed"}}'), ask(seed=1))
        rejections.rejected("a", refusal(b'{"error":{"param":"stop"}}'), ask(stop="x"))
    rejections.accepted("a", ask(seed=1))
    assert not rejections.unavailable(ask(seed=1))
    assert rejections.unavailable(ask(stop="x", top_p=1))
