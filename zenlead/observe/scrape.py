"""One scrape: the registry becomes text while the loop keeps running.

Knows the two text formats and the time limit. Refuses to know what is in the registry. The rule not to break:
the text is made in a thread, one at a time, because a thousand Services are half a second of work, and no
failover may wait behind them.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from prometheus_client import Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from zenlead.observe.gauges import PREFIX
from zenlead.observe.http import Request, Response
from zenlead.observe.metrics import SLOW_BUCKETS_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from prometheus_client import CollectorRegistry

    from zenlead.observe.metrics import Metrics


class _Format(NamedTuple):
    encode: Callable[[CollectorRegistry], bytes]
    content_type: str


_TEXT = _Format(generate_latest, CONTENT_TYPE_PLAIN_0_0_4)
_OPENMETRICS = _Format(openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST)
_OPENMETRICS_TYPE = "application/openmetrics-text"


def _prometheus_async() -> ModuleType:
    """prometheus_async.aio without its aiohttp.web server: 2 MB for what http.py does already.

    The package skips that server when it cannot be imported; afterwards it can be imported again.
    """
    server = "prometheus_async.aio.web"
    if server in sys.modules:
        return importlib.import_module("prometheus_async.aio")
    sys.modules[server] = cast("ModuleType", None)  # None is how Python marks "not to be found"
    try:
        return importlib.import_module("prometheus_async.aio")
    finally:
        del sys.modules[server]


class Scrape:
    """Answers GET /metrics within ``timeout_s``. To be closed."""

    def __init__(self, metrics: Metrics, timeout_s: float) -> None:
        self._metrics = metrics
        self._timeout_s = timeout_s
        # One thread: scrapes that overlap queue up, and one that gave up before its turn never runs.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scrape")
        self._aio: Any = _prometheus_async()
        registry = metrics.registry
        self._seconds = Histogram(
            f"{PREFIX}scrape_duration_seconds",
            "Time to answer a scrape.",
            buckets=SLOW_BUCKETS_S,
            registry=registry,
        )
        self._running = Gauge(f"{PREFIX}scrapes_in_progress", "Scrapes being answered.", registry=registry)
        self._timeouts = metrics.timeouts("metrics_collection")

    def __repr__(self) -> str:
        return f"<Scrape timeout_s={self._timeout_s:g}>"

    def close(self) -> None:
        """Give up the thread; a text in the making is finished and thrown away."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def respond(self, request: Request) -> Response:
        """The metrics in the format that the client asks for; 503 when they are not ready in time."""
        chosen = _OPENMETRICS if _OPENMETRICS_TYPE in request.headers.get("accept", "") else _TEXT
        aio = self._aio
        bounded = aio.count_exceptions(self._timeouts, self._encode_in_time(chosen), exc=TimeoutError)
        try:
            body: bytes = await aio.track_inprogress(self._running, aio.time(self._seconds, bounded))
        except TimeoutError:
            words = f"collecting the metrics took longer than {self._timeout_s:g} s\n"
            return Response(503, words.encode())
        return Response(200, body, chosen.content_type)

    async def _encode_in_time(self, chosen: _Format) -> bytes:
        self._metrics.sample()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s):
            return await loop.run_in_executor(self._thread, chosen.encode, self._metrics.registry)
