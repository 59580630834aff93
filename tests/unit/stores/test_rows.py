"""Entries come back from their rows exactly as they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.storage import Entry
from conduit.routing.decision import Attempt, Candidate, Decision, Feedback, Lesson, Observation, Outcome, Status
from conduit.stores.sql import rows
from conduit.stores.sql.tables import metadata
from tests.unit.stores.entries import decision, feedback, observation, outcome, plain

numbers = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.none() | numbers
counts = st.integers(0, 2**62)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
contexts = st.lists(st.floats(allow_nan=False, width=32), max_size=8).map(
    lambda values: np.array(values, dtype=np.float32).astype(np.float64)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
candidates = st.builds(Candidate, words, numbers, numbers, numbers, numbers, cost_usd=maybe, latency_s=maybe)
attempts = st.builds(Attempt, words, numbers, st.none() | words, counts=st.booleans())
decisions = st.builds(
    Decision,
    id=words,
    time_s=numbers,
    model=words,
    propensity=numbers,
    candidates=st.lists(candidates, max_size=4).map(tuple),
    removed=st.dictionaries(words, words, max_size=3),
    why=words,
    policy=words,
    routed=st.booleans(),
    context=contexts,
    features=words,
    domain=words,
    input_tokens=counts,
    shadow_price=numbers,
    key_id=st.none() | words,
    user_id=st.none() | words,
    session_id=st.none() | words,
    prompt_hash=st.none() | st.binary(max_size=32),
    prompt=st.none() | words,
    request_id=st.none() | words,
)
outcomes = st.builds(
    Outcome,
    decision_id=words,
    time_s=numbers,
    model=words,
    status=st.sampled_from(Status),
    attempts=st.lists(attempts, max_size=3).map(tuple),
    input_tokens=st.none() | counts,
    output_tokens=st.none() | counts,
    measured=st.booleans(),
    cost_usd=maybe,
    latency_s=numbers,
    first_byte_s=maybe,
    response_id=st.none() | words,
)
lessons = st.builds(Lesson, numbers, numbers, st.none() | words, maybe)
feedbacks = st.builds(
    Feedback,
    id=words,
    decision_id=words,
    revision=counts,
    time_s=numbers,
    quality=numbers,
    signals=st.dictionaries(words, json_values, max_size=3),
    model=st.none() | words,
    key_id=st.none() | words,
    weight=numbers,
    lessons=st.lists(lessons, max_size=3).map(tuple),
)
observations = st.builds(
    Observation,
    decision_id=words,
    model=words,
    context=contexts,
    features=words,
    time_s=numbers,
    weight=numbers,
    quality=maybe,
    output_tokens=maybe,
    latency_s=maybe,
    cost_usd=maybe,
    rival=st.none() | words,
    preference=maybe,
)


@given(decisions)
def test_a_decision_comes_back_exactly(entry: Decision) -> None:
    assert plain(rows.decision(list(rows.row(entry)[1].values()))) == plain(entry)


@given(outcomes)
def test_an_outcome_comes_back_exactly(entry: Outcome) -> None:
    assert rows.outcome(list(rows.row(entry)[1].values())) == entry


@given(feedbacks)
def test_feedback_comes_back_exactly(entry: Feedback) -> None:
    assert rows.given(list(rows.row(entry)[1].values())) == entry


@given(observations)
def test_an_observation_comes_back_exactly_with_what_its_decision_saw(entry: Observation) -> None:
    made_of = rows.row(decision(context=entry.context, features=entry.features))[1]
    row = [7, *rows.row(entry)[1].values(), made_of["context"], made_of["features"]]
    position, back = rows.observation(row)
    assert (position, plain(back)) == (7, plain(entry))


@pytest.mark.parametrize("entry", [decision(), outcome(), feedback(), observation()])
def test_a_row_has_the_columns_of_its_table_in_their_order(entry: Entry) -> None:
    table, row = rows.row(entry)
    assert table in metadata.sorted_tables
    assert list(row) == [column.name for column in table.columns if column.name != "position"]


@given(st.text())
def test_any_text_becomes_text_that_every_database_keeps(value: str) -> None:
    kept = rows.text(value)
    assert "\0" not in kept
    assert kept.encode().decode() == kept == rows.text(kept)


def test_a_later_field_is_read_as_its_default_from_an_older_row() -> None:
    row = rows.row(outcome())[1] | {"attempts": '{"model":["ada"],"latency_s":[0.5]}'}
    assert rows.outcome(list(row.values())).attempts == (Attempt("ada", 0.5),)


@pytest.mark.parametrize(("model", "taught"), [("ada", (Lesson(0.8, 1.0),)), (None, ())])
def test_feedback_of_before_there_were_weights_taught_as_one(model: str | None, taught: tuple[Lesson, ...]) -> None:
    row = rows.row(feedback(model=model, key_id=None))[1] | {"weight": 1.0, "lessons": None}
    found = rows.given(list(row.values()))
    assert (found.lessons, found.weight) == (taught, float(len(taught)))
