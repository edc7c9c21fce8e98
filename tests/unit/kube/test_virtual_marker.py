"""The marker chooses the loop; without it a unit test has an ordinary one."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulated.clock import VirtualClockLoop


@pytest.mark.virtual_clock
async def test_marked_test_has_virtual_time() -> None:
    await asyncio.sleep(1000)
    assert asyncio.get_running_loop().time() == 1000


async def test_unmarked_test_has_a_real_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualClockLoop)
