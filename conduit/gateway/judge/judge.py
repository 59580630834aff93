"""The judge: a share of the answers is scored in the background by a model, within its own dollars a day."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from conduit.core.errors import UpstreamError, UpstreamTimeout
from conduit.core.events import Judged, NotJudged
from conduit.core.protocols import Answer, Listener
from conduit.core.storage import SpendStore
from conduit.gateway.judge.client import JudgeClient
from conduit.gateway.judge.prompt import Messages, question, verdict
from conduit.gateway.judge.transcript import Transcript, conversation
from conduit.gateway.learning.settle import Settler
from conduit.gateway.request.exchange import Ask
from conduit.routing.catalogue import Catalogue, Model
from conduit.routing.errors import ConduitError
from conduit.routing.protocols import Clock

PURSE = "judge"
AT_ONCE = 4
CAPACITY = 100
"""Answers that wait or are being judged, each with 12 000 characters at most."""
GRACE_S = 2.0
"""For verdicts that are on their way when the gateway stops."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How much is judged."""

    share: float
    """Of the answers, 0..1."""
    usd_per_day: float


def own_answers(model: Model, catalogue: Catalogue) -> frozenset[str]:
    """Whom this judge may not judge: itself, under whatever name it is sold, unless there is nobody else."""
    own = frozenset(m.name for m in catalogue if m.upstream_name == model.upstream_name)
    return own if len(own) < len(catalogue) else frozenset()


class Judge:
    """Hears answers while they are given and judges them later; until then they are in memory, and nowhere else."""

    def __init__(
        self,
        examiner: JudgeClient | None,
        terms: Terms,
        *,
        excluded: Collection[str],
        purse: SpendStore,
        settler: Settler,
        clock: Clock,
        listener: Listener,
        random: Random,
        new_mark: Callable[[], str],
        name: str = "",
    ) -> None:
        """Answers of `excluded` models are not heard; `random` draws the share; nobody can guess a `new_mark`.
        Without an `examiner` the model of this `name` has not come yet."""
        self.terms, self.examiner, self.excluded = terms, examiner, excluded
        self._name = name
        self._purse, self._settler, self._clock, self._listener = purse, settler, clock, listener
        self._random, self._new_mark = random, new_mark
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._stopping = False
        self._missed: Counter[tuple[str, str]] = Counter()

    @property
    def model(self) -> str:
        return self._name if self.examiner is None else self.examiner.model.name

    async def spent_today_usd(self) -> float:
        """Over all processes. Raises LedgerUnavailable."""
        return await self._purse.spent(PURSE, self._today())

    # -------------------------------------------------------------- on the request's path

    def hear(self, decision_id: str, model: str, ask: Ask) -> Transcript | None:
        """To be read into while `model` answers, or None: most answers are not drawn, and some cannot be judged."""
        if model in self.excluded or self._random.random() >= self.terms.share:
            return None
        request = conversation(ask.body)
        return None if request is None else Transcript(decision_id, model, request)

    def take(self, transcript: Transcript) -> None:
        """Judge it when there is time. Its decision and outcome are in the ledger."""
        if not transcript.worth_judging:
            return
        if self._stopping or len(self._tasks) >= CAPACITY:
            self._miss(transcript, "stopping" if self._stopping else "queue full")
            return
        task = asyncio.create_task(self._in_turn(transcript), name="judge")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -------------------------------------------------------------- behind it

    async def stop(self) -> None:
        """Nothing new is begun; what is being judged may end soon, or else is given up, and stays paid for."""
        self._stopping = True
        tasks = tuple(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _in_turn(self, transcript: Transcript) -> None:
        async with self._free:
            try:
                why = "stopping" if self._stopping else await self._judge(transcript)
            except UpstreamError as error:
                why = str(error)
            except asyncio.CancelledError:
                self._miss(transcript, "stopping")
                raise
            except ConduitError as error:  # the ledger is away, or does not know the decision
                why = type(error).__name__
            except Exception as error:  # noqa: BLE001  a task in the background: nobody else would ever hear of it
                why = type(error).__name__
        if why is not None:
            self._miss(transcript, why)

    async def _judge(self, transcript: Transcript) -> str | None:
        """Why there is no verdict, if there is none."""
        examiner = self.examiner
        if examiner is None or not examiner.available:
            return "unhealthy"
        mark, day = self._new_mark(), self._today()
        messages = question(transcript, mark)
        reserved_usd = examiner.most_usd(messages)
        if not await self._purse.reserve(PURSE, day, usd=reserved_usd, limit_usd=self.terms.usd_per_day):
            return "budget spent"
        answer, cost_usd = await self._paid(examiner, messages, day, reserved_usd)
        score = verdict(answer.data, mark)
        if score is None:
            return "garbage"
        await self._settler.settle(transcript.decision_id, {"judge_score": score}, source="judge")
        self._listener(Judged(transcript.decision_id, transcript.model, self.model, score, cost_usd))
        return None

    async def _paid(
        self, examiner: JudgeClient, messages: Messages, day: str, reserved_usd: float
    ) -> tuple[Answer, float]:
        """The answer and what it cost. What may have been charged and is not known stays at what was reserved."""
        cost_usd: float | None = None
        try:
            answer = await examiner.ask(messages)
            cost_usd = examiner.cost_usd(answer)
        except UpstreamError as error:
            if error.status is not None and not isinstance(error, UpstreamTimeout):
                cost_usd = 0.0  # providers do not charge for a refusal
            raise
        finally:
            if cost_usd is not None:
                await self._purse.settle(PURSE, day, reserved_usd=reserved_usd, actual_usd=cost_usd)
        return answer, reserved_usd if cost_usd is None else cost_usd

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock.now_s(), UTC).date().isoformat()

    def _miss(self, transcript: Transcript, why: str) -> None:
        day = self._today()
        if not any(then == day for then, _ in self._missed):
            self._missed.clear()
        self._missed[day, why] += 1
        self._listener(NotJudged(transcript.decision_id, why, self._missed[day, why]))
