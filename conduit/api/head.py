"""What no application sees of a connection: a request's head, all else that is no body, and who reads the answer.

uvicorn keeps any amount of the former, for as long as it takes, before the application hears of a request, and waits
for ever for who does not read. `conduit serve` listens with this; others are told to:

    uvicorn conduit.api.app:app --http conduit.api.head:BoundedHead
"""

from asyncio import TimerHandle, Transport
from http import HTTPStatus

import httptools
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from conduit.api.envelope import CLOSE, Problem, problem_response
from conduit.api.headers import USUAL

MOST_AROUND = 65_536
"""Bytes of a request that are no body, over what came in one piece with its beginning."""
SPARED_BY_A_BYTE = 8
"""A byte of body in a chunk of its own has five around it."""
LEAST_READ = 16_384
"""Bytes that whoever reads at all has taken in `unread_s`."""
SPOKEN = frozenset({"1.0", "1.1"})
"""The parser knows others, whose rules are not these."""
FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
"""What says where a body ends, and whether another request follows it."""


def _alone(status: int, code: str, message: str) -> bytes:
    """An answer in the usual envelope, by none of whose layers it goes. It has no id: nothing was logged."""
    answer = problem_response(Problem(status, code, message, headers=CLOSE), "")
    headers = b"".join(b"%b: %b\r\n" % header for header in (*answer.raw_headers, *USUAL))
    phrase = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, phrase, headers, bytes(answer.body))


NO_REQUEST, TOO_SLOW, TOO_MUCH = (
    _alone(400, "invalid_request", "this is no request of HTTP; a header, for one, may hold no control bytes"),
    _alone(408, "request_timeout", "the head of the request did not come in time; send it again"),
    _alone(431, "headers_too_large", "the head of the request, or what is around its body, is too large"),
)


class Unchunked(RequestResponseCycle):
    """For HTTP/1.0, which knows no chunks: where an answer says no length, the connection's end is its end."""

    _endless = False

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            if all(name != b"content-length" for name, _ in message.get("headers", ())):
                self.chunked_encoding, self._endless = False, True
        elif self._endless and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class BoundedHead(HttpToolsProtocol):
    """Ends a connection whose caller begins a request and does not bring its head within `head_s` seconds, or brings no
    request at all, or is answered and still not done; while the application runs, its deadline holds (SizeLimit). Ends
    one too that brings more around a body than anybody needs, and one whose caller takes less than LEAST_READ bytes of
    what waits to be sent within `unread_s` seconds.

    Fields after a body are dropped: whoever checked the headers has not seen them. An offer to go on in another
    protocol (`Upgrade`) is passed over, as RFC 9110, 7.8 lets a server do: the request is answered without it.
    """

    head_s = 20.0
    unread_s = 60.0
    _in_head = False
    _again = False
    """Whether the parser reads a head for the second time, for what it says of the body."""
    _spare = MOST_AROUND
    _due: TimerHandle | None = None
    _unread: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._await_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        self._spare -= len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
            return
        if self._spare < 0:
            self._end(TOO_MUCH)
        elif self._answering and not self._in_head:
            self._stop_waiting()
        elif self._due is None:
            self._await_more()

    def _feed(self, data: bytes) -> None:
        """Raises HttpParserError."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self._pass_over_offer()
            else:
                return

    def _pass_over_offer(self) -> None:
        """The parser took the head for all there is of the request. Another one is told what it said of a body."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        framing = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] in FRAMING)
        self._again = True
        try:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
        finally:
            self._again = False

    def on_message_begin(self) -> None:
        if self._again:
            return
        self._in_head, self._spare = True, MOST_AROUND
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._again:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._again:
            self._in_head = False
            version = self.parser.get_http_version()
            if version not in SPOKEN:
                raise ValueError(version)  # which makes it no request
            super().on_headers_complete()
            if version == "1.0":
                self.cycle.__class__ = Unchunked

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    def on_body(self, body: bytes) -> None:
        self._spare += len(body) * (1 + SPARED_BY_A_BYTE)
        super().on_body(body)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_more(self) -> None:
        self._due = self.loop.call_later(self.head_s, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _watch(self) -> None:
        self._unread = self.loop.call_later(self.unread_s, self._look, self.transport.get_write_buffer_size())

    def _look(self, waited: int) -> None:
        """While so much waits nothing is added; a whole answer may wait at once, and take its time."""
        if self.transport.get_write_buffer_size() > waited - LEAST_READ:
            self.transport.abort()
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _too_slow(self) -> None:
        if self._answering:  # an earlier request of this connection
            self._await_more()
        else:
            self._end(TOO_SLOW if self._in_head else b"")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  which tells nobody what to do
        if not (self._answering and self.cycle.response_started):
            self.transport.write(NO_REQUEST)
        self.transport.close()

    def _end(self, answer: bytes) -> None:
        """With an answer, if that can stand alone."""
        if answer and not self._answering and not self.transport.is_closing():
            self.transport.write(answer)
        self.transport.close()
