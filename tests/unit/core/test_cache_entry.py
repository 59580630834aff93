"""Answers that may be cached, and the places that requests give them."""

import orjson
import pytest

from conduit.core.cache_entry import cacheable, slot_of
from conduit.routing.query import Preferences, Query, Requirements

BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0.1},
        {"temperature": None},
        {"temperature": "0"},
        {"temperature": True},
        {"n": 2},
        {"tools": [{}]},
        {"functions": [{}]},
        {"store": True},
        {"web_search_options": {"a": 1}},
        {"messages": [{"role": "tool", "content": "1"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
    ],
)
def test_what_is_drawn_acts_or_looks_elsewhere_is_not_kept(more: dict[str, object]) -> None:
    assert cacheable(BODY, most_temperature=0.0)
    assert not cacheable(BODY | more, most_temperature=0.0)


def test_who_names_no_temperature_has_the_usual_one() -> None:
    assert cacheable({"messages": []}, most_temperature=1.0)
    assert not cacheable({"messages": []}, most_temperature=0.9)
    assert cacheable(BODY | {"n": 1, "tools": [], "seed": 3}, most_temperature=0.0)


def test_a_place_is_of_one_caller_one_request_and_one_kind_of_answer() -> None:
    plain = slot_of(Query("hi", key_id="k"), BODY, model=None, stream=False)
    others = [
        slot_of(Query("hi", key_id="l"), BODY, model=None, stream=False),
        slot_of(Query("hi"), BODY, model=None, stream=False),
        slot_of(Query("hi", key_id="k"), BODY, model="m", stream=False),
        slot_of(Query("hi", key_id="k"), BODY, model=None, stream=True),
        slot_of(Query("hi", key_id="k"), BODY | {"seed": 1}, model=None, stream=False),
        slot_of(Query("hi", key_id="k", preferences=Preferences.preset("cost")), BODY, model=None, stream=False),
        slot_of(
            Query("hi", key_id="k", requirements=Requirements(deny=frozenset("m"))), BODY, model=None, stream=False
        ),
    ]
    names = {slot.name for slot in [plain, *others]}
    assert len(names) == len(others) + 1
    assert len({slot.secret for slot in [plain, *others]} | {bytes.fromhex(name) for name in names}) == 2 * len(names)
    turned = orjson.loads(orjson.dumps(dict(reversed(BODY.items()))))
    assert slot_of(Query("hi", key_id="k", session_id="s"), turned, model=None, stream=False) == plain
