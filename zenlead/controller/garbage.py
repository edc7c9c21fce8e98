"""When Python looks for garbage while the caches are filled: hardly ever.

Knows the collector's generations. Refuses to know what is being made. The rule not to break: outside, the
collector works as it always does.
"""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SELDOM = 1_000_000  # middle collections until a full one


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """What is made inside lives as long as the process, mostly, so that afterwards no collection looks at
    it again: that would take longer than anybody should wait for the loop."""
    young, middle, old = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(young, middle, SELDOM)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(young, middle, old)
