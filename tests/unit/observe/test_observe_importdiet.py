"""What the whole controller loads: its libraries in their slim form, and nothing lost for others."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = """
import json, sys
import zenlead.controller.run
from zenlead.observe.importdiet import prometheus_async_aio
assert prometheus_async_aio().time
print(json.dumps(sorted(sys.modules)))
"""

OTHERS = """
import zenlead.controller.run, structlog
from zenlead.observe.importdiet import prometheus_async_aio
aio = prometheus_async_aio()
import rich.console, rich.traceback
import prometheus_async.aio.web
assert prometheus_async.aio is aio and prometheus_async_aio() is aio
assert prometheus_async.aio.web.start_http_server and rich.console.Console and structlog.dev.ConsoleRenderer()
print("ok")
"""

RICH_FIRST = """
import rich, structlog
from zenlead.observe import logs
assert structlog.dev.rich is rich
print("ok")
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_controller_loads_nothing_that_it_does_not_use() -> None:
    modules = json.loads(run(LOADED))
    unused = {
        *(
            "rich",
            "pygments",
            "aiohttp.web",
            "prometheus_async.aio.web",
            "opentelemetry.sdk",
            "yaml",
            "dateutil",
        ),
        *(
            "multiprocessing",
            "frozenlist._frozenlist",
            "sqlite3",
            "unittest",
            "pydoc",
            "xml",
            "zenlead.sandbox",
            "matplotlib",
            "uvloop",
        ),
    }
    assert sorted(unused & set(modules)) == []
    # Each is some 40 KB of memory. Whoever brings in a new library should see what it brings along.
    foreign = [name for name in modules if name.split(".")[0] != "zenlead"]
    assert len(foreign) < 442


@pytest.mark.parametrize("code", [OTHERS, RICH_FIRST], ids=["others find all", "who came first keeps all"])
def test_nobody_loses_a_name(code: str) -> None:
    assert run(code) == "ok\n"
