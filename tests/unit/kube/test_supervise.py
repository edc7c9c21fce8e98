"""Core tasks: restarted, given up, missed."""

from __future__ import annotations

import asyncio
import time

import pytest

from zenlead.kube.errors import Unauthorized
from zenlead.kube.facts import TaskRestarted
from zenlead.kube.supervise import Heartbeats, LoopLag, supervise

pytestmark = pytest.mark.virtual_clock


async def test_a_task_that_returns_is_done() -> None:
    facts: list[TaskRestarted] = []

    async def once() -> None:
        await asyncio.sleep(1)

    await supervise("once", once, facts.append)
    assert facts == []


async def test_a_task_that_dies_is_started_again_later_and_later() -> None:
    facts: list[TaskRestarted] = []
    starts: list[float] = []

    async def frail() -> None:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) < 4:
            raise KeyError("defect")

    await supervise("frail", frail, facts.append, jitter=lambda: 1.0)
    assert starts == [0.0, 0.5, 1.5, 3.5]
    assert facts == [TaskRestarted("frail", "KeyError: 'defect'", delay) for delay in (0.5, 1.0, 2.0)]


async def test_a_task_that_keeps_dying_is_given_up_with_its_own_error() -> None:
    facts: list[TaskRestarted] = []

    async def broken() -> None:
        raise LookupError("for good")

    with pytest.raises(LookupError, match="for good"):
        await supervise("broken", broken, facts.append)
    assert len(facts) == 4
    assert asyncio.get_running_loop().time() < 8


async def test_refused_credentials_are_given_up_at_once() -> None:
    facts: list[TaskRestarted] = []

    async def refused() -> None:
        raise Unauthorized("401", status=401)

    with pytest.raises(Unauthorized):
        await supervise("refused", refused, facts.append)
    assert facts == []
    assert asyncio.get_running_loop().time() == 0


async def test_a_death_now_and_then_is_no_reason_to_give_up() -> None:
    facts: list[TaskRestarted] = []
    runs = 0

    async def moody() -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(100)
        if runs < 50:
            raise OSError("again")

    await supervise("moody", moody, facts.append, jitter=lambda: 0.0)
    assert len(facts) == 49
    assert {fact.delay_s for fact in facts[1:]} == {0.5}, "each the second within two minutes"


async def test_cancellation_passes_through() -> None:
    facts: list[TaskRestarted] = []

    async def endless() -> None:
        await asyncio.sleep(1e6)

    task = asyncio.create_task(supervise("endless", endless, facts.append))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert facts == []


def test_who_falls_silent_is_named() -> None:
    hearts = Heartbeats()
    hearts.expect("elector", 30.0, 0.0)
    hearts.expect("events", 60.0, 0.0)
    assert hearts.stuck(30.0) == []
    assert hearts.stuck(30.1) == ["elector"]
    hearts.beat("elector", 40.0)
    hearts.beat("nobody", 40.0)
    assert hearts.stuck(61.0) == ["events"]
    hearts.forget("events")
    assert hearts.stuck(70.0) == []
    assert repr(hearts) == "Heartbeats(elector)"


async def test_the_probe_remembers_the_worst_delay_of_a_minute() -> None:
    lag = LoopLag()
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(10)
    assert lag.worst_s == 0
    loop.jump(2.0)  # as if one callback had run for two seconds
    await asyncio.sleep(1)
    assert 1.5 <= lag.worst_s <= 2.0
    await asyncio.sleep(50)
    loop.jump(0.7)
    await asyncio.sleep(1)
    assert 1.5 <= lag.worst_s <= 2.0
    await asyncio.sleep(10)
    assert 0.2 <= lag.worst_s < 0.71
    started = time.monotonic()
    await asyncio.sleep(3600)
    assert len(lag._seen) <= 121
    assert time.monotonic() - started < 30
    task.cancel()
    await asyncio.wait([task])
