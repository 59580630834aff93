"""What was said of an answer comes to one quality and one weight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.judgement import DUELS, KINDS, Judgement, Source, check, judgement, lessons_of, replaced, said_by
from conduit.routing.errors import InvalidRequest


@pytest.mark.parametrize(
    ("signals", "quality", "weight"),
    [
        ({"quality_score": 0.3}, 0.3, 1.0),
        ({"quality_score": 0.3, "thumbs": "up", "regenerated": True}, 0.3, 1.0),
        ({"user_rating": 5}, 1.0, 1.0),
        ({"user_rating": 1}, 0.0, 1.0),
        ({"user_rating": 3, "task_success": True}, 0.75, 1.0),
        ({"met_expectations": False}, 0.0, 0.7),
        ({"thumbs": "up", "comments": "fine"}, 1.0, 0.7),
        ({"regenerated": True}, 0.0, 0.3),
        ({"thumbs": "up", "regenerated": True}, 0.7, 0.7),
        ({"thumbs": "up", "regenerated": False}, 1.0, 0.7),
        ({"judge_score": 0.4}, 0.4, 0.5),
        ({"quality_score": 1.0, "judge_score": 0.4}, 0.8, 1.0),
        ({"retried": True}, 0.0, 0.15),
    ],
)
def test_signals_come_to_a_quality_and_a_weight(signals: dict[str, object], quality: float, weight: float) -> None:
    assert judgement(signals) == Judgement(pytest.approx(quality), weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", [{"comments": "well"}, {"regenerated": False}, {}])
def test_what_tells_no_quality_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="thumbs"):
        check("caller", said)


def test_a_tie_is_between_two() -> None:
    with pytest.raises(InvalidRequest, match="preferred_over"):
        check("caller", {"tie": True, "quality_score": 1.0})


rated = st.fixed_dictionaries(
    {},
    optional={
        "quality_score": st.floats(0, 1),
        "user_rating": st.integers(1, 5),
        "thumbs": st.sampled_from(["up", "down"]),
        "task_success": st.booleans(),
        "met_expectations": st.booleans(),
        "regenerated": st.booleans(),
        "judge_score": st.floats(0, 1),
        "retried": st.just(True),
        "comments": st.text(max_size=3),
    },
)
side = st.fixed_dictionaries(
    {
        "rival": st.none() | st.sampled_from(["ada", "bob", "eve"]),
        "preference": st.sampled_from([-1.0, 0.0, 1.0]),
        "quality": st.floats(0, 1),
    }
)
duels = st.dictionaries(st.sampled_from([f"over:{n}" for n in range(5)]), side, max_size=5)


@given(rated, duels)
def test_an_answer_never_counts_for_more_than_one(signals: dict[str, object], compared: dict[str, object]) -> None:
    """However many signals and comparisons there are; and never for less than nothing."""
    lessons = lessons_of({**signals, DUELS: compared}, "ada")
    assert all(0.0 <= lesson.quality <= 1.0 and 0.0 < lesson.weight <= 1.0 for lesson in lessons)
    assert sum(lesson.weight for lesson in lessons) <= 1.0 + 1e-12
    assert lessons_of({**signals, DUELS: compared}, None) == ()
    assert "ada" not in {lesson.rival for lesson in lessons}


@given(rated)
def test_the_weight_is_that_of_the_heaviest_signal(signals: dict[str, object]) -> None:
    """And the quality lies between the least and the best that was said."""
    found = judgement(signals)
    read = {name: KINDS[name] for name in signals if name in KINDS}
    telling = [(kind.weight, kind.quality(signals[name])) for name, kind in read.items()]
    said = [(weight, quality) for weight, quality in telling if quality is not None]
    if found is None:
        assert not said
        return
    assert found.weight == max(weight for weight, _ in said)
    assert min(q for _, q in said) - 1e-12 <= found.quality <= max(q for _, q in said) + 1e-12


@given(rated, rated, st.sampled_from(["caller", "judge", "retry"]))
def test_a_source_replaces_its_own_and_nobody_elses(
    earlier: dict[str, object], later: dict[str, object], source: Source
) -> None:
    said = said_by(source, later)
    now = replaced(source, earlier, said)
    assert said_by(source, now) == said
    others: set[Source] = {"caller", "judge", "retry"} - {source}  # type: ignore[assignment]
    assert all(said_by(other, now) == said_by(other, earlier) for other in others)
