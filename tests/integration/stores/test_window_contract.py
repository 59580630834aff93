"""What every window promises, in one process and over many."""

import asyncio
import gc
import multiprocessing
from collections.abc import AsyncIterator
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import pytest
from redis.asyncio import Redis

from conduit.core.admission import Admission
from conduit.core.errors import WindowUnavailable
from conduit.core.keys import Limits
from conduit.core.protocols import Window
from conduit.routing.system import SystemClock, TimeOrderedIds
from conduit.stores.memory.window import MemoryWindow
from conduit.stores.redis.line import Address
from conduit.stores.redis.shared import ENTER, RedisWindow
from conduit.testing import StillClock
from tests.support.valkey import ValkeyServer, redis_url, valkey

__all__ = ["redis_url", "valkey"]

SHORT_S = 0.4
PATIENT_S = 10.0
"""A busy machine is no failure."""
IDS = TimeOrderedIds()
THREE = Limits(requests_per_minute=3)


def new(what: str = "visit") -> str:
    return IDS.new(what)


async def let_in(window: Window, caller: str, limits: Limits) -> Admission:
    """Asks until it is."""
    async with asyncio.timeout(10):
        while True:
            answer = await window.enter(caller, new(), limits)
            if not answer.refused:
                return answer


@pytest.fixture(params=["memory", "redis"])
async def windows(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Window, Window]]:
    """One whose window is a minute, and one whose window and leases are short."""
    long: Window
    short: Window
    if request.param == "memory":
        long, short = MemoryWindow(SystemClock()), MemoryWindow(SystemClock(), window_s=SHORT_S, lease_s=SHORT_S)
    else:
        url = request.getfixturevalue("redis_url")
        long = RedisWindow(Address.parse(url), patience_s=PATIENT_S)
        short = RedisWindow(Address.parse(url), patience_s=PATIENT_S, window_s=SHORT_S, lease_s=SHORT_S)
    yield long, short
    await long.close()
    await short.close()


async def test_as_many_come_in_as_may_and_each_is_told_what_is_left(windows: tuple[Window, Window]) -> None:
    window, caller = windows[0], new("caller")
    answers = [await window.enter(caller, new(), THREE) for _ in range(5)]
    assert [a.refused for a in answers] == ["", "", "", "requests", "requests"]
    assert [a.remaining for a in answers] == [2, 1, 0, 0, 0]
    assert [a.current for a in answers] == [1, 2, 3, 3, 3]
    assert all(a.limit == 3 and 55.0 < a.wait_s <= 60.0 for a in answers)


async def test_callers_do_not_count_for_each_other(windows: tuple[Window, Window]) -> None:
    window, one, other = windows[0], new("caller"), new("caller")
    for _ in range(3):
        assert not (await window.enter(one, new(), THREE)).refused
    assert not (await window.enter(other, new(), THREE)).refused


async def test_of_two_hundred_at_once_exactly_as_many_come_in_as_may(windows: tuple[Window, Window]) -> None:
    window, caller, limits = windows[0], new("caller"), Limits(requests_per_minute=20)
    answers = await asyncio.gather(*(window.enter(caller, new(), limits) for _ in range(200)))
    assert sum(not a.refused for a in answers) == 20


async def test_who_waits_as_long_as_told_comes_in_and_refusals_count_nothing(windows: tuple[Window, Window]) -> None:
    window, caller = windows[1], new("caller")
    for _ in range(3):
        await window.enter(caller, new(), THREE)
    refused = await window.enter(caller, new(), THREE)
    assert refused.refused == "requests"
    for _ in range(20):
        await window.enter(caller, new(), THREE)
    answer = await let_in(window, caller, THREE)
    assert 1 <= answer.current <= 3


async def test_tokens_count_when_they_were_taken(windows: tuple[Window, Window]) -> None:
    window, caller, limits = windows[0], new("caller"), Limits(tokens_per_minute=100)
    for tokens in (60, 0, 40):
        visit = new()
        assert not (await window.enter(caller, visit, limits)).refused
        await window.leave(caller, visit, tokens)
    refused = await window.enter(caller, new(), limits)
    assert (refused.refused, refused.limit, refused.current) == ("tokens", 100, 100)
    assert 55.0 < refused.wait_s <= 60.0


async def test_tokens_that_are_set_aside_count_until_what_was_taken_is_known(windows: tuple[Window, Window]) -> None:
    """Who is refused leaves no trace."""
    window, caller, limits = windows[0], new("caller"), Limits(tokens_per_minute=100)
    first, second = new(), new()
    assert (await window.hold(caller, first, 60, 100)).current == 60
    refused = await window.hold(caller, second, 41, 100)
    assert (refused.refused, refused.limit, refused.current) == ("tokens", 100, 60)
    assert 55.0 < refused.wait_s <= 60.0
    assert (await window.hold(caller, second, 40, 100)).current == 100
    assert (await window.enter(caller, new(), limits)).refused == "tokens"
    await window.leave(caller, first, 7)
    third = new()
    assert (await window.hold(caller, third, 53, 100)).current == 100
    await window.leave(caller, second, 0)
    await window.leave(caller, third, 0)
    await window.leave(caller, third, 0)
    assert (await window.hold(caller, new(), 93, 100)).current == 100


async def test_who_comes_in_may_set_tokens_aside_at_once_while_half_of_them_is_free(
    windows: tuple[Window, Window],
) -> None:
    window, caller, limits = windows[0], new("caller"), Limits(tokens_per_minute=100)
    first, second, third = new(), new(), new()
    assert (await window.enter(caller, first, limits, 30)).held == 30
    assert (await window.enter(caller, second, limits, 21)).held == 0
    assert (await window.enter(caller, third, limits, 20)).held == 20
    assert (await window.hold(caller, second, 51, 100)).refused == "tokens"
    assert (await window.hold(caller, second, 50, 100)).current == 100
    for visit in (first, second, third):
        await window.leave(caller, visit, 0)
    assert (await window.hold(caller, new(), 1, 100)).current == 1


async def test_what_a_visit_set_aside_is_replaced_and_lowered(windows: tuple[Window, Window]) -> None:
    """A refusal leaves it as it was."""
    window, caller, limits = windows[0], new("caller"), Limits(tokens_per_minute=100)
    first, second = new(), new()
    assert (await window.enter(caller, first, limits, 40)).held == 40
    assert (await window.hold(caller, first, 70, 100)).current == 70
    assert (await window.hold(caller, second, 20, 100)).current == 90
    refused = await window.hold(caller, first, 81, 100)
    assert (refused.refused, refused.current, refused.held) == ("tokens", 20, 0)
    assert (await window.hold(caller, second, 30, 100)).current == 100
    for tokens in (50, 60):  # the second is no fewer
        await window.lower(caller, first, tokens)
    await window.lower(caller, new(), 5)  # who has set nothing aside
    assert (await window.hold(caller, new(), 21, 100)).refused == "tokens"
    assert (await window.hold(caller, new(), 20, 100)).current == 100
    await window.leave(caller, first, 0)
    assert (await window.hold(caller, new(), 50, 100)).current == 100


async def test_who_is_refused_sets_nothing_aside(windows: tuple[Window, Window]) -> None:
    window, caller = windows[0], new("caller")
    limits = Limits(requests_per_minute=2, tokens_per_minute=100, concurrent=1)
    await window.enter(caller, new(), limits)
    for concurrent in (1, 2, 2):
        await window.enter(caller, new(), Limits(2, 100, concurrent), 10)
    assert (await window.hold(caller, new(), 90, 100)).current == 100


async def test_of_a_burst_no_more_than_fit_set_tokens_aside(windows: tuple[Window, Window]) -> None:
    window, caller = windows[0], new("caller")
    answers = await asyncio.gather(*(window.hold(caller, new(), 30, 100) for _ in range(50)))
    assert sum(not a.refused for a in answers) == 3


async def test_what_a_dead_process_set_aside_is_free_when_the_window_is_over(windows: tuple[Window, Window]) -> None:
    window, caller, late = windows[1], new("caller"), new()
    assert not (await window.hold(caller, late, 100, 100)).refused
    async with asyncio.timeout(10):
        while (await window.hold(caller, new(), 100, 100)).refused:
            pass
    await window.leave(caller, late, 0)  # that is no more than nothing
    assert (await window.hold(caller, new(), 1, 200)).current >= 1


async def test_who_leaves_makes_room_and_so_does_a_lease_that_ran_out(windows: tuple[Window, Window]) -> None:
    long, short = windows
    limits, caller, first = Limits(concurrent=1), new("caller"), new()
    assert not (await long.enter(caller, first, limits)).refused
    assert (await long.enter(caller, new(), limits)).refused == "concurrent"
    await long.leave(caller, first, 0)
    assert not (await long.enter(caller, new(), limits)).refused
    forgotten = new("caller")
    assert not (await short.enter(forgotten, new(), limits)).refused
    await let_in(short, forgotten, limits)


async def test_a_lease_that_is_renewed_holds_and_one_that_was_given_back_does_not_return(
    windows: tuple[Window, Window],
) -> None:
    short, limits, caller, running, ended = windows[1], Limits(concurrent=2), new("caller"), new(), new()
    for visit in (running, ended):
        assert not (await short.enter(caller, visit, limits)).refused
    await short.leave(caller, ended, 0)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + 2 * SHORT_S
    while loop.time() < until_s:
        await short.renew(caller, [running, ended])
    assert not (await short.enter(caller, new(), limits)).refused
    assert (await short.enter(caller, new(), limits)).refused == "concurrent"
    await short.renew(new("caller"), [running])


async def test_a_visit_that_nobody_knows_may_leave(windows: tuple[Window, Window]) -> None:
    await windows[0].leave(new("caller"), new(), 0)


# ------------------------------------------------------------------ each its own


async def test_one_process_remembers_only_who_came_lately() -> None:
    """A million addresses are a million bytes too many."""
    clock = StillClock()
    window = MemoryWindow(clock)
    for i in range(2000):
        clock.at_s = i * 0.1
        await window.enter(f"peer:{i}", str(i), THREE)
    assert len(window._callers) <= 1200


async def _enter_many(url: str, caller: str, admitted: "Synchronized[int]") -> None:
    window = RedisWindow(Address.parse(url), patience_s=PATIENT_S)
    limits = Limits(requests_per_minute=50)
    for _ in range(5):
        answers = await asyncio.gather(*(window.enter(caller, new(), limits) for _ in range(20)))
        with admitted.get_lock():
            admitted.value += sum(not a.refused for a in answers)
    await window.close()


def _process(url: str, caller: str, admitted: "Synchronized[int]") -> None:
    asyncio.run(_enter_many(url, caller, admitted))


def test_three_processes_share_one_limit(redis_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    admitted: Any = context.Value("i", 0)
    caller = new("caller")
    processes = [context.Process(target=_process, args=(redis_url, caller, admitted)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert admitted.value == 50


@pytest.mark.parametrize("harm", ["kill", "freeze"])
async def test_a_server_that_does_not_answer_is_an_error_of_ours_without_its_text(
    valkey: ValkeyServer, harm: str
) -> None:
    window = RedisWindow(Address.parse(valkey.url))
    await window.open()
    getattr(valkey, harm)()
    with pytest.raises(WindowUnavailable) as raised:
        await window.enter("caller", new(), THREE)
    assert str(valkey.port) not in str(raised.value)
    await window.close()


@pytest.mark.parametrize("harm", ["kill", "freeze"])
async def test_who_leaves_waits_for_no_server_and_nobody_complains_of_it(valkey: ValkeyServer, harm: str) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    window = RedisWindow(Address.parse(valkey.url))
    await window.open()
    getattr(valkey, harm)()
    await window.leave("caller", new(), 1)
    await window.close()
    gc.collect()
    assert complaints == []


async def test_who_asks_behind_one_who_leaves_waits_no_longer_for_it(valkey: ValkeyServer) -> None:
    window = RedisWindow(Address.parse(valkey.url), patience_s=SHORT_S)
    await window.open()
    valkey.freeze()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await window.leave("caller", new(), 1)
    await asyncio.sleep(0)  # it is on its way
    with pytest.raises(WindowUnavailable):
        await window.enter("caller", new(), THREE)
    assert loop.time() - began_s < 2 * SHORT_S
    await window.close()


async def test_who_leaves_makes_room_in_other_processes_though_nobody_asks_anything_here_again(redis_url: str) -> None:
    here, there = (RedisWindow(Address.parse(redis_url), patience_s=PATIENT_S) for _ in range(2))
    limits, caller, visits = Limits(concurrent=2), new("caller"), [new(), new()]
    for visit in visits:
        assert not (await here.enter(caller, visit, limits)).refused
    assert (await there.enter(caller, new(), limits)).refused == "concurrent"
    await here.leave(caller, visits[0], 0)
    await let_in(there, caller, limits)
    await here.leave(caller, visits[1], 0)
    await here.close()  # what was to be said is said first
    assert not (await there.enter(caller, new(), limits)).refused
    await there.close()


async def test_after_a_restart_of_the_server_the_first_question_is_answered(valkey: ValkeyServer) -> None:
    """The connection that is kept has ended, and the server knows no script any more."""
    window = RedisWindow(Address.parse(valkey.url), patience_s=PATIENT_S)
    await window.open()
    assert (await window.enter("caller", new(), THREE)).current == 1
    for harm in (valkey.kill, valkey.start):
        await asyncio.to_thread(harm)
    assert (await window.enter("caller", new(), THREE)).current == 1
    assert (await window.enter("caller", new(), THREE)).current == 2
    await window.close()


async def test_of_tokens_that_were_replaced_in_another_second_redis_keeps_nothing(redis_url: str) -> None:
    """An empty second would be taken for the oldest, and who is refused would be told to come back too early."""
    window, redis = RedisWindow(Address.parse(redis_url), patience_s=PATIENT_S), Redis.from_url(redis_url)
    caller, visit = new("caller"), new()
    began = await window.enter(caller, visit, Limits(tokens_per_minute=100), 30)
    while int((await window.hold(caller, visit, 60, 100)).now_s) == int(began.now_s):
        pass
    assert [int(held) for held in await redis.hvals(f"conduit:{{{caller}}}:tokens")] == [60]  # type: ignore[misc]
    await window.close()
    await redis.aclose()


async def test_what_the_server_knows_runs_once_though_another_script_is_new_to_it(redis_url: str) -> None:
    """As when another replica has just begun to teach it. Who ran twice would stand in the way of himself."""
    window, redis, caller = (
        RedisWindow(Address.parse(redis_url), patience_s=PATIENT_S),
        Redis.from_url(redis_url),
        new("caller"),
    )
    await window.open()
    await redis.script_flush()
    await redis.script_load(ENTER.text)
    questions = window.enter(caller, new(), Limits(concurrent=1)), window.hold(caller, new(), 1, 100)
    assert [admission.refused for admission in await asyncio.gather(*questions)] == ["", ""]
    await window.close()
    await redis.aclose()
