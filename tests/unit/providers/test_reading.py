"""Whatever a server streams, the reading gives frames or an UpstreamError, and no other exception."""

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.core.errors import UpstreamError
from conduit.core.protocols import Frame
from conduit.providers.reading import StreamReading

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "stop", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "error", "object"]), inner),
)
CHOICES = st.lists(
    st.fixed_dictionaries({}, optional={"index": JSON, "delta": JSON, "finish_reason": JSON}), max_size=3
)
CHUNKS = st.fixed_dictionaries({}, optional={"choices": CHOICES | JSON, "usage": JSON, "error": JSON, "object": JSON})


def read(stream: bytes, *, hide_usage: bool = False) -> list[Frame]:
    reading = StreamReading(hide_usage=hide_usage)
    frames = list(reading.feed(stream))
    reading.finish()
    return frames


@given(st.lists(CHUNKS | JSON, max_size=5), st.booleans())
def test_any_json_is_frames_or_an_upstream_error(chunks: list[object], hide_usage: bool) -> None:
    sent = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks]
    try:
        frames = read(b"".join(sent) + b"data: [DONE]\n\n", hide_usage=hide_usage)
    except UpstreamError:
        return
    assert [frame.data for frame in frames] == chunks
    assert all(frame.raw in {raw, b""} for frame, raw in zip(frames, sent, strict=True))


@given(st.binary())
def test_any_bytes_are_frames_or_an_upstream_error(stream: bytes) -> None:
    with suppress(UpstreamError):
        assert b"".join(frame.raw for frame in read(stream)) in stream


@pytest.mark.parametrize(
    "stream",
    [b"", b": ping\n\n", b"data: [DONE]\n\n", b"data: {}\n\n", b'data: {"choices":[{"finish_reason":null}]}\n\n'],
)
def test_what_never_finished_broke_off(stream: bytes) -> None:
    with pytest.raises(UpstreamError, match="broke off"):
        read(stream)


def test_what_follows_done_is_not_read() -> None:
    end = b'data: {"choices":[{"finish_reason":"stop"}]}\n\n'
    assert [frame.raw for frame in read(end + b"data: [DONE]\n\ndata: nonsense\n\n")] == [end]
