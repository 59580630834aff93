"""What the judge gets to see of a request and its answer."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from conduit.gateway.judge.transcript import HALF, Excerpt, Transcript, conversation


def transcript(*answer: dict[str, object]) -> Transcript:
    heard = Transcript("dec_1", "ada", Excerpt())
    for data in answer:
        heard.read(data)
    return heard


@given(st.lists(st.text(max_size=40), max_size=10))
def test_a_short_text_is_shown_whole_however_it_came(pieces: list[str]) -> None:
    excerpt = Excerpt()
    for piece in pieces:
        excerpt.add(piece)
    assert excerpt.show("m") == "".join(pieces)


@given(st.integers(2 * HALF + 1, 9 * HALF), st.integers(1, 2 * HALF))
def test_of_a_long_text_beginning_and_end_are_shown_and_how_much_is_not(length: int, step: int) -> None:
    """However it came; and no more than that is ever kept."""
    text = "".join(chr(97 + i % 26) for i in range(length))
    excerpt = Excerpt()
    for start in range(0, length, step):
        excerpt.add(text[start : start + step])
        assert len(excerpt.head) + len(excerpt.tail) <= 2 * HALF
    left_out = length - 2 * HALF
    assert excerpt.show("m") == f"{text[:HALF]}\n[m: {left_out} characters left out]\n{text[-HALF:]}"


def test_half_a_surrogate_pair_can_be_sent_on() -> None:
    excerpt = Excerpt()
    excerpt.add("a\ud83d")
    assert orjson.dumps(excerpt.show("m"))


def test_a_conversation_is_its_messages_with_their_roles() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Two"}, {"type": "text", "text": "parts"}]},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
    ]
    heard = conversation({"messages": messages})
    assert heard is not None
    assert heard.show("m") == "[system]\nBe brief.\n[user]\nTwo\nparts\n[assistant]\n"


def test_what_a_reader_cannot_see_is_not_judged() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    for part in (picture, {"type": "input_audio"}, {"type": "text", "text": None}, "text"):
        content = [{"type": "text", "text": "What is this?"}, part]
        assert conversation({"messages": [{"role": "user", "content": content}]}) is None


def test_an_answer_is_heard_whole_or_in_pieces_and_only_its_first_choice() -> None:
    first = {"index": 0, "message": {"content": "yes"}}
    assert transcript({"choices": [first, {"index": 1, "message": {"content": "no"}}]}).answer.show("m") == "yes"
    deltas = [{"role": "assistant", "content": ""}, {"content": "y"}, {"content": "es"}, {}, {"content": None}]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    assert transcript(*chunks, {"choices": []}, {"usage": {}}, {}).answer.show("m") == "yes"


def test_a_call_of_a_tool_and_silence_are_not_worth_judging() -> None:
    called = {"choices": [{"index": 0, "message": {"content": None, "tool_calls": [{"id": "1"}]}}]}
    assert not transcript(called).worth_judging
    assert not transcript({"choices": [{"message": {"content": " \n"}}]}).worth_judging
    assert transcript({"choices": [{"message": {"content": "no"}}]}).worth_judging
