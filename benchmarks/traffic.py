"""Callers that ask, now and then in a stream, and rate what they got, whatever becomes of the gateways."""

import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import Self

from conduit.bench.prompts import prompts

DEGRADED = "x-conduit-degraded"


@dataclass
class Heard:
    """What the gateways have promised. Only appended to, by several threads."""

    answers: list[str] = field(default_factory=list)
    """Decisions of answers that came to their end."""
    unkept: list[str] = field(default_factory=list)
    """Of these, whose header said that they could not be recorded."""
    feedback: list[tuple[str, float]] = field(default_factory=list)
    """Acknowledged."""
    latencies_s: list[tuple[float, float]] = field(default_factory=list)
    """Of answers: when, and how long."""
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    """Connections that gave no whole answer."""


class Traffic:
    """Use as a context manager. `ports` are those of the gateways; who does not answer is left alone for a moment."""

    def __init__(self, ports: Sequence[int], *, threads: int, seed: int = 0) -> None:
        self.heard = Heard()
        self._ports, self._over = ports, threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._idle = [threading.Event() for _ in range(threads)]
        self._threads = [threading.Thread(target=self._run, args=(n, seed), daemon=True) for n in range(threads)]

    def pause(self) -> None:
        """Returns when nothing is in flight."""
        self._going.clear()
        for idle in self._idle:
            idle.wait()

    def go_on(self) -> None:
        for idle in self._idle:
            idle.clear()
        self._going.set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._going.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, seed: int) -> None:
        draw = random.Random(f"{seed} {number}")
        for prompt in prompts(seed * 1000 + number):
            if not self._going.is_set():
                self._idle[number].set()
                self._going.wait()
            if self._over.is_set():
                return
            try:
                self._turn(draw, prompt)
            except (OSError, http.client.HTTPException) as error:
                self.heard.broken[type(error).__name__] += 1
                self._over.wait(0.02)

    def _turn(self, draw: random.Random, prompt: str) -> None:
        port, stream = draw.choice(self._ports), draw.random() < 0.3
        body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
        begun = perf_counter()
        status, headers, raw = asked(port, "/v1/chat/completions", body)
        self.heard.statuses["completion", status] += 1
        if status != 200 or (stream and not raw.endswith(b"data: [DONE]\n\n")):
            return
        self.heard.latencies_s.append((begun, perf_counter() - begun))
        decision, word = headers["x-conduit-decision"], headers.get(DEGRADED, "")
        self.heard.degraded[word] += 1
        (self.heard.unkept if "ledger" in word else self.heard.answers).append(decision)
        score = draw.randrange(101) / 100
        status, _, _ = asked(
            draw.choice(self._ports), "/v1/feedback", {"response_id": decision, "quality_score": score}
        )
        self.heard.statuses["feedback", status] += 1
        if status == 200:
            self.heard.feedback.append((decision, score))


def asked(port: int, path: str, body: object) -> tuple[int, dict[str, str], bytes]:
    """On a connection of its own, so that any worker may take it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()
