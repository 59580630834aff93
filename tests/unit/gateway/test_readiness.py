"""Who is ready, and who says why not."""

import asyncio

import pytest

from conduit.core.errors import LedgerUnavailable
from conduit.gateway.access.limiter import Limiter
from conduit.gateway.stats.readiness import Readiness, is_ready
from conduit.stores.memory.ledger import MemoryLedger
from conduit.stores.memory.window import MemoryWindow
from conduit.testing import StillClock
from tests.unit.gateway.test_limiter import Bench


class Silent(MemoryLedger):
    async def check(self) -> bool:
        return await asyncio.get_running_loop().create_future()


class Away(MemoryLedger):
    async def check(self) -> bool:
        raise LedgerUnavailable("the server at secret-host does not answer")


class Old(MemoryLedger):
    async def check(self) -> bool:
        return False


def readiness(ledger: MemoryLedger | None = None, limiter: Limiter | None = None, models: int = 1) -> Readiness:
    clock = StillClock(1.0)
    alone = Limiter(shared=None, local=MemoryWindow(clock), clock=clock, listener=lambda event: None)
    return Readiness(ledger or MemoryLedger(), limiter or alone, lambda: range(models), within_s=0.01)


async def test_with_all_it_needs_it_is_ready() -> None:
    checks = await readiness().checks()
    assert checks == {"database": "ok", "migrations": "ok", "models": "ok", "draining": "ok"}
    assert is_ready(checks)


@pytest.mark.parametrize("ledger", [Silent(), Away()])
async def test_a_database_that_does_not_answer_is_told_in_our_words(ledger: MemoryLedger) -> None:
    checks = await readiness(ledger).checks()
    assert (checks["database"], checks["migrations"]) == ("unreachable", "unknown")
    assert not is_ready(checks)


async def test_a_schema_that_is_too_old_is_not_ready() -> None:
    checks = await readiness(Old()).checks()
    assert checks["database"] == "ok"
    assert checks["migrations"].startswith("pending")
    assert not is_ready(checks)


async def test_without_a_model_it_is_not_ready() -> None:
    assert not is_ready(await readiness(models=0).checks())


async def test_while_it_drains_it_is_not_ready() -> None:
    ending = readiness()
    ending.draining = True
    assert not is_ready(await ending.checks())


async def test_redis_that_nobody_must_have_stops_nobody() -> None:
    bench = Bench()
    assert (await readiness(limiter=bench.limiter).checks())["redis"] == "ok"
    bench.shared.mood = "breaks"
    await bench.limiter.open()
    asked = bench.shared.asked
    checks = await readiness(limiter=bench.limiter).checks()
    assert checks["redis"] == "degraded"
    assert is_ready(checks)
    assert bench.shared.asked == asked


async def test_redis_that_is_a_must_is_asked_each_time() -> None:
    bench = Bench(fails_closed=True)
    bench.shared.mood = "breaks"
    checks = await readiness(limiter=bench.limiter).checks()
    assert checks["redis"] == "unreachable"
    assert not is_ready(checks)
    bench.shared.mood = "works"
    assert is_ready(await readiness(limiter=bench.limiter).checks())
