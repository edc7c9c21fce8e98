"""Imports of packages without a part that they themselves take for optional.

Knows Python's import system. Refuses to know packages. The rule: afterwards everything can be imported by
whoever wants it.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@contextlib.contextmanager
def without(module: str) -> Iterator[None]:
    """In here ``module`` cannot be found, unless somebody has loaded it before: the memory is spent then."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = cast("ModuleType", None)  # None is how Python marks "not to be found"
    try:
        yield
    finally:
        del sys.modules[module]
