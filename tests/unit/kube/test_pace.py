"""A pace and its changes, in exact virtual seconds."""

from __future__ import annotations

import asyncio

import pytest

from zenlead.kube.pace import Pace

pytestmark = pytest.mark.virtual_clock


def now() -> float:
    return asyncio.get_running_loop().time()


async def tokens(pace: Pace, count: int) -> list[float]:
    """When each of ``count`` tokens came, one after the other."""
    times = []
    for _ in range(count):
        await pace.token()
        times.append(now())
    return times


async def test_so_many_at_once_and_then_so_many_a_second() -> None:
    assert await tokens(Pace(2.0, 3), 5) == [0.0, 0.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(("qps", "burst"), [(0.0, 5), (5.0, 0), (0.0, 0)])
async def test_no_limit(qps: float, burst: int) -> None:
    pace = Pace(qps, burst)
    assert await tokens(pace, 1000) == [0.0] * 1000
    assert await pace.try_token()


async def test_a_token_that_is_not_there_is_not_waited_for() -> None:
    pace = Pace(1.0, 1)
    assert await pace.try_token()
    assert not await pace.try_token()
    assert now() == 0.0


@pytest.mark.parametrize(
    ("change", "times"),
    [((0.0, 0), [100.0] * 3), ((0.5, 1), [100.0, 102.0, 104.0]), ((1.0, 2), [100.0, 100.0, 101.0])],
)
async def test_who_waits_already_feels_a_change(change: tuple[float, int], times: list[float]) -> None:
    pace = Pace(0.0001, 1)
    await pace.token()
    came: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await pace.token()
        came.append((number, now()))

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(one(number))
        await asyncio.sleep(100.0)
        assert came == []
        pace.change(*change)
    assert [time for _, time in came] == times
    assert [number for number, _ in came] == [0, 1, 2]
    assert "0 waiting" in repr(pace)


async def test_from_no_limit_to_one() -> None:
    pace = Pace(0.0, 0)
    await tokens(pace, 10)
    pace.change(1.0, 1)
    assert await tokens(pace, 3) == [0.0, 1.0, 2.0]


async def test_a_change_cancels_nobody_and_nobody_who_is_cancelled_takes_a_token() -> None:
    pace = Pace(0.0001, 1)
    await pace.token()
    waiting = asyncio.create_task(pace.token())
    gone = asyncio.create_task(pace.token())
    await asyncio.sleep(1.0)
    gone.cancel()
    pace.change(1.0, 1)
    await asyncio.wait([waiting, gone])
    assert gone.cancelled()
    assert not waiting.cancelled()
    assert now() == 1.0
    assert await tokens(pace, 1) == [2.0]
    assert "0 waiting" in repr(pace)


async def test_two_changes_at_once() -> None:
    pace = Pace(0.0001, 1)
    await pace.token()
    waiting = asyncio.create_task(pace.token())
    await asyncio.sleep(1.0)
    pace.change(0.0002, 1)
    pace.change(0.0, 0)
    await waiting
    assert now() == 1.0
