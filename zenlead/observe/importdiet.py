"""Imports of structlog and prometheus_async without the parts that nobody here uses.

Knows what they load without need. Refuses to know logs and metrics. The rule: only what a package itself
takes for optional is left out.

Why: ``import structlog`` loads rich where it is installed, for tracebacks that would show local variables
(5 MB with pygments), and ``import prometheus_async.aio`` loads aiohttp's web server (2 MB) for what http.py
does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from zenlead.imports import without

if TYPE_CHECKING:
    from types import ModuleType


def prometheus_async_aio() -> ModuleType:
    """prometheus_async.aio without its web server."""
    with without("prometheus_async.aio.web"):
        return importlib.import_module("prometheus_async.aio")


with without("rich"):
    importlib.import_module("structlog")
