"""Core tasks: restarted, given up, missed."""

from __future__ import annotations

import asyncio

import pytest

from zenlead.kube.errors import Unauthorized
from zenlead.kube.facts import TaskRestarted
from zenlead.kube.supervise import Heart, Heartbeats, alive, at_rest, supervise

pytestmark = pytest.mark.virtual_clock


async def test_a_task_that_returns_is_done() -> None:
    facts: list[TaskRestarted] = []

    async def once() -> None:
        await asyncio.sleep(1)

    await supervise(Heart("once"), once, facts.append)
    assert facts == []


async def test_a_task_that_dies_is_started_again_later_and_later() -> None:
    facts: list[TaskRestarted] = []
    starts: list[float] = []

    async def frail() -> None:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) < 4:
            raise KeyError("defect")

    await supervise(Heart("frail"), frail, facts.append, jitter=lambda: 1.0)
    assert starts == [0.0, 0.5, 1.5, 3.5]
    assert facts == [TaskRestarted("frail", "KeyError: 'defect'", delay) for delay in (0.5, 1.0, 2.0)]


async def test_a_task_that_keeps_dying_is_given_up_with_its_own_error() -> None:
    facts: list[TaskRestarted] = []

    async def broken() -> None:
        raise LookupError("for good")

    with pytest.raises(LookupError, match="for good"):
        await supervise(Heart("broken"), broken, facts.append)
    assert len(facts) == 4
    assert asyncio.get_running_loop().time() < 8


async def test_refused_credentials_are_given_up_at_once() -> None:
    facts: list[TaskRestarted] = []

    async def refused() -> None:
        raise Unauthorized("401", status=401)

    with pytest.raises(Unauthorized):
        await supervise(Heart("refused"), refused, facts.append)
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

    await supervise(Heart("moody"), moody, facts.append, jitter=lambda: 0.0)
    assert len(facts) == 49
    assert {fact.delay_s for fact in facts[1:]} == {0.5}, "each the second within two minutes"


async def test_cancellation_passes_through() -> None:
    facts: list[TaskRestarted] = []

    async def endless() -> None:
        await asyncio.sleep(1e6)

    task = asyncio.create_task(supervise(Heart("endless"), endless, facts.append))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert facts == []


async def test_a_cancellation_that_nobody_asked_the_task_for_is_a_failure() -> None:
    """As when a future that it waits for is cancelled: a group would take that for the end of the task."""
    facts: list[TaskRestarted] = []
    runs = 0

    async def hurt() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled

    await supervise(Heart("hurt"), hurt, facts.append, jitter=lambda: 1.0)
    assert runs == 2
    assert facts == [TaskRestarted("hurt", "Stray: what it waited for was cancelled", 0.5)]


async def test_who_falls_silent_is_named() -> None:
    loop = asyncio.get_running_loop()
    hearts = Heartbeats()
    elector, events = hearts.heart("elector"), hearts.heart("events")
    assert hearts.heart("elector") is elector
    assert hearts.stuck(1e6) == [], "nobody has begun"
    elector.beat(10.0)
    events.beat(60.0)
    assert hearts.stuck(15.0) == []
    assert hearts.stuck(15.1) == ["elector"]
    await asyncio.sleep(40)
    elector.beat()
    assert hearts.stuck(loop.time() + 25.1) == ["events"]
    events.rest()
    assert hearts.stuck(loop.time() + 30.0) == []
    assert hearts.stuck(loop.time() + 30.1) == ["elector"]
    assert repr(hearts) == "Heartbeats(Heart(elector due at 65.000), Heart(events at rest))"


async def test_a_room_speaks_for_the_task_that_runs_it() -> None:
    loop = asyncio.get_running_loop()
    hearts = Heartbeats()

    async def part() -> None:
        await asyncio.sleep(20)
        alive(100.0)

    async def room() -> None:
        await asyncio.sleep(20)
        async with asyncio.TaskGroup() as group:
            group.create_task(part())
        await asyncio.sleep(90)
        at_rest()
        await asyncio.sleep(1e6)

    async def silent() -> None:
        await asyncio.sleep(1e9)

    alive(1.0)  # nobody's heart: nothing happens
    running = [
        asyncio.create_task(supervise(hearts.heart(body.__name__), body, lambda _: None))
        for body in (room, silent)
    ]
    await asyncio.sleep(29)
    assert hearts.stuck(loop.time()) == []
    await asyncio.sleep(2)
    assert hearts.stuck(loop.time()) == ["room", "silent"]
    await asyncio.sleep(60)
    assert hearts.stuck(loop.time()) == ["silent"], "a part of it made progress"
    await asyncio.sleep(1e5)
    assert hearts.stuck(loop.time()) == ["silent"], "who waits for work owes nothing"
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def test_a_task_that_waits_to_be_started_again_is_not_stuck() -> None:
    hearts = Heartbeats()

    async def broken() -> None:
        raise LookupError("for good")

    task = asyncio.create_task(supervise(hearts.heart("broken"), broken, lambda _: None))
    while not task.done():
        assert hearts.stuck(asyncio.get_running_loop().time()) == []
        await asyncio.sleep(0.1)
    assert isinstance(task.exception(), LookupError)
    await asyncio.sleep(60)
    assert hearts.stuck(asyncio.get_running_loop().time()) == ["broken"]
