"""Every simulated test runs in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulated.clock import VirtualClockLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    import pytest


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualClockLoop}
