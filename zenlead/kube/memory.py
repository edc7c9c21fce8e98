"""Memory that goes back to the operating system once a large list has been taken in.

Knows the allocator of glibc. Refuses to know who used the memory. The rule not to break: elsewhere (musl,
other systems) nothing happens, and nobody has to ask.

By itself glibc keeps what was freed below the last block in use: after the imports and the first lists of a
thousand Services that is a sixth of the process. Import this first, for its effect on all imports after it.
Source: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
# Buffers as large as this (pages of lists, records of TLS) are mapped one by one, and go when they are freed.
LARGE = 64 * 1024


def be_frugal() -> None:
    """From now on; what is in use already stays where it is."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            libc.mallopt(option, LARGE)


def give_back() -> None:
    """Give back what is free now; takes a millisecond or two."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


be_frugal()
