"""The same bytes are the same events, however the network cut them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.errors import UpstreamError
from conduit.providers.sse import Event, Splitter

LINES = st.sampled_from(
    [
        b"data: x",
        b"data:y",
        b"data",
        b'data: {"a": 1}',
        b": ping",
        b"event: e",
        b"id: 1",
        b"\xef\xbb\xbf",
        b"",
        b"d",
        b"data: \xc3\xa9",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=30).map(lambda parts: b"".join(map(b"".join, parts)))


def split(*chunks: bytes) -> list[Event]:
    splitter = Splitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    rest = splitter.finish()
    return [*events, rest] if rest else events


@given(st.one_of(STREAMS, st.binary(max_size=60)), st.lists(st.integers(0, 400), max_size=40))
def test_chunking_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    borders = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    whole, pieces = split(stream), split(*(stream[start:end] for start, end in pairwise(borders)))
    assert pieces == whole
    assert b"".join(event.raw for event in pieces) == stream


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_ends_events(end: bytes) -> None:
    stream = b"data: a" + 2 * end + b"data: b" + end + b"data: c" + 2 * end
    assert [event.data for event in split(stream)] == [b"a", b"b\nc"]


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    splitter = Splitter()
    assert list(splitter.feed(b"data: a\n")) == []
    assert list(splitter.feed(b"\n")) == [Event(b"data: a\n\n", b"a")]


def test_comments_and_other_fields_are_no_data() -> None:
    assert split(b": ping\n\n", b"event: e\nid: 1\ndata: a\nretry: 9\n\n") == [
        Event(b": ping\n\n", None),
        Event(b"event: e\nid: 1\ndata: a\nretry: 9\n\n", b"a"),
    ]


def test_a_byte_order_mark_is_not_part_of_the_first_line() -> None:
    assert split(b"\xef\xbb\xbfdata: a\n\n") == [Event(b"\xef\xbb\xbfdata: a\n\n", b"a")]


def test_only_one_space_is_taken_from_the_data() -> None:
    assert [event.data for event in split(b"data:  a\n\n", b"data:\n\n", b"data\n\n")] == [b" a", b"", b""]


def test_what_lacks_its_blank_line_is_the_rest() -> None:
    assert split(b"data: a\n\ndata: b") == [Event(b"data: a\n\n", b"a"), Event(b"data: b", b"b")]


@pytest.mark.parametrize("chunks", [[b"data: 123456\n\n"], [b"data: ", b"123456\n\n"], [b"x" * 20]])
def test_an_event_that_never_ends_is_refused(chunks: list[bytes]) -> None:
    splitter = Splitter(max_event_bytes=10)
    with pytest.raises(UpstreamError, match="event too long"):
        _ = [event for chunk in chunks for event in splitter.feed(chunk)]


def test_a_large_event_in_small_pieces_is_read_in_linear_time() -> None:
    """A mebibyte in 16-byte pieces: searching from the start at each piece would take hours."""
    stream = b"data: " + b"x" * 2**20 + b"\n\n"
    events = split(*(stream[start : start + 16] for start in range(0, len(stream), 16)))
    assert [event.raw for event in events] == [stream]
