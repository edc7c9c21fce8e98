"""Unit tests run on an ordinary loop; those marked ``virtual_clock`` on a virtual one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulated.clock import VirtualClockLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_clock"):
        return {"virtual": VirtualClockLoop}
    return {"real": asyncio.new_event_loop}
