"""An event loop whose time goes on while the machine sleeps.

Knows the clocks of the operating system. Refuses to know tasks. The rule not to break: this time never goes
back, and it counts every second that other machines count, as far as this one can know.

``time.monotonic`` stands still while a laptop or a virtual machine is suspended: a replica would wake up in
the belief that its Lease is fresh. By this time the Lease and every deadline are over at once. (A hypervisor
that stops a machine together with all its clocks cannot be noticed from inside; then only the version that
each write names protects newer decisions.)
Source: clock_gettime(2), CLOCK_BOOTTIME.
"""

from __future__ import annotations

import asyncio
import sys
import time

if sys.platform == "linux":

    def seconds() -> float:
        """Seconds since some moment of the past, time asleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    seconds = time.monotonic  # elsewhere there is no better one


class AwakeLoop(asyncio.SelectorEventLoop):
    """The loop that a controller runs on."""

    def time(self) -> float:
        return seconds()
