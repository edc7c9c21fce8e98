"""The virtual clock itself: time jumps, threads still answer, a deadlock is named."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulated.clock import EPOCH, VirtualClockLoop, VirtualDeadlock, WallClock, run_virtual


async def test_an_hour_passes_at_once_and_exactly() -> None:
    started = time.monotonic()
    loop = asyncio.get_running_loop()
    await asyncio.sleep(3600)
    assert loop.time() == 3600
    for _ in range(3):
        await asyncio.sleep(0.1)
    assert loop.time() == 3600.3
    assert time.monotonic() - started < 60


async def test_timers_fire_in_order_and_timeouts_are_exact() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[str, float]] = []
    loop.call_later(2, lambda: seen.append(("b", loop.time())))
    loop.call_later(1, lambda: seen.append(("a", loop.time())))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await loop.create_future()
    assert seen == [("a", 1.0), ("b", 2.0)]
    assert loop.time() == 5


async def test_time_stands_still_while_a_thread_works() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(0.001):
        assert await asyncio.to_thread(lambda: time.sleep(0.05) or 7) == 7
    assert loop.time() == 0


async def test_wall_clock_follows_the_loop_drifts_and_jumps() -> None:
    good, fast = WallClock(), WallClock(drift=0.01)
    await asyncio.sleep(100)
    assert good() == EPOCH + 100
    assert fast() == EPOCH + 101
    good.jump(-3600)
    assert good() == EPOCH - 3500


def test_a_deadlock_is_an_error_that_names_the_place() -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(VirtualDeadlock, match=r"test_clock\.py"):
        run_virtual(wait_for_ever)


async def test_simulated_tests_run_on_the_virtual_loop() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualClockLoop)
