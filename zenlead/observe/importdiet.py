"""Imports of structlog and prometheus_async without the parts that nobody here uses.

Knows Python's import system. Refuses to know logs and metrics. The rules: only what a package itself takes
for optional is left out, and afterwards everything can be imported again by whoever wants it.

Why: ``import structlog`` loads rich where it is installed, for tracebacks that would show local variables
(5 MB with pygments), and ``import prometheus_async.aio`` loads aiohttp's web server (2 MB) for what http.py
does.
"""

from __future__ import annotations

import contextlib
import importlib
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


def prometheus_async_aio() -> ModuleType:
    """prometheus_async.aio without its web server."""
    with without("prometheus_async.aio.web"):
        return importlib.import_module("prometheus_async.aio")


with without("rich"):
    importlib.import_module("structlog")
