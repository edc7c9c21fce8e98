"""The thread beside the loop, and the loop whose time goes on while the machine sleeps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from zenlead.kube.eventloop import AwakeLoop
from zenlead.kube.watchdog import watchdog

PERIOD_S, LIMIT_S = 0.05, 0.3

STANDS_STILL = """
import asyncio, time
from zenlead.kube.watchdog import watchdog

async def main():
    with watchdog(limit_s=0.2, period_s=0.05):
        await asyncio.sleep(0.3)
        time.sleep(60)

asyncio.run(main())
"""


async def test_a_loop_that_answers_is_left_alone_and_one_that_does_not_is_told_of() -> None:
    told: list[float] = []
    with watchdog(told.append, limit_s=LIMIT_S, period_s=PERIOD_S):
        await asyncio.sleep(3 * LIMIT_S)
        assert told == []
        time.sleep(PERIOD_S)  # noqa: ASYNC251 - to stand still is the point
        await asyncio.sleep(2 * PERIOD_S)
        assert told == []
        time.sleep(10 * LIMIT_S)  # noqa: ASYNC251
    assert told == [pytest.approx(LIMIT_S)]
    assert not [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_the_process_ends_and_says_where_it_stood() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STANDS_STILL], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert "the event loop has stood still for 0.2 s" in ended.stderr
    assert "line 8 in main" in ended.stderr


def test_the_loops_time_counts_the_time_asleep() -> None:
    loop = AwakeLoop()
    try:
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert before <= loop.time() <= time.clock_gettime(time.CLOCK_BOOTTIME)
        slept = loop.run_until_complete(asyncio.sleep(0.05, "well"))
        assert slept == "well"
        assert loop.time() - before >= 0.05
    finally:
        loop.close()
