"""Waiting for so long: what is in time is had, what is late is cut off, and nobody else's end is mistaken for it."""

import asyncio
import gc

import pytest

from conduit.gateway.request.patience import patiently

NEVER_S = 60.0


async def after_turns(turns: int) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return "there"


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_what_comes_in_time_is_had_and_nothing_is_cut_off_afterwards() -> None:
    assert await patiently(after_turns(3), NEVER_S) == "there"
    for turns in (0, 5):
        assert await patiently(after_turns(1), 0.0, turns=2) == "there"
        await after_turns(turns)  # a timer that is left would cancel this


async def test_what_is_late_is_cut_off() -> None:
    with pytest.raises(TimeoutError):
        await patiently(for_ever(), 0.001)
    for too_few in (0, 10):
        with pytest.raises(TimeoutError):
            await patiently(after_turns(50), -1.0, turns=too_few)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("error", [None, ConnectionError])
async def test_work_that_makes_something_else_of_its_end_leaves_no_trace(error: type[Exception] | None) -> None:
    async def stubborn() -> str:
        try:
            await for_ever()
        except asyncio.CancelledError:
            if error is not None:
                raise error from None
        return "so what"

    task = asyncio.current_task()
    assert task is not None
    if error is None:
        assert await patiently(stubborn(), 0.001) == "so what"
    else:
        with pytest.raises(error):
            await patiently(stubborn(), 0.001)
    assert task.cancelling() == 0


async def test_turns_are_given_after_the_time() -> None:
    assert await patiently(after_turns(20), 0.0, turns=30) == "there"


async def test_an_error_is_handed_on() -> None:
    async def wrong() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await patiently(wrong(), NEVER_S)


@pytest.mark.parametrize("late_too", [False, True])
async def test_who_is_cancelled_by_others_is_cancelled(late_too: bool) -> None:
    async def work() -> None:
        began.set()
        try:
            await for_ever()
        finally:
            if late_too:
                task.cancel()

    began = asyncio.Event()
    task = asyncio.create_task(patiently(work(), 0.001 if late_too else NEVER_S))
    await began.wait()
    if not late_too:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_inside_another_patience_each_keeps_its_own() -> None:
    async def inner() -> str:
        with pytest.raises(TimeoutError):
            await patiently(for_ever(), 0.001)
        return "went on"

    assert await patiently(inner(), NEVER_S) == "went on"
    with pytest.raises(TimeoutError):
        await patiently(patiently(for_ever(), NEVER_S), 0.001)


async def test_it_leaves_no_garbage_for_a_collector() -> None:
    """A request each: a few thousand a second would be a pause."""
    await patiently(after_turns(1), NEVER_S)
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            await patiently(after_turns(1), NEVER_S)
        assert gc.collect() < 100
    finally:
        gc.enable()
