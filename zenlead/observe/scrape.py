"""One scrape: the metrics become text while the loop keeps running.

Knows the two text formats, compression and the time limit. Refuses to know what is in the text. The rule not
to break: no failover waits behind a scrape. The text is made and compressed in chunks, and between two of
them everybody else has a turn; and only one text is in the making at a time. What is kept is the compressed
text, a thirtieth of the whole, whatever the client asked for.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

from prometheus_client import Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from zenlead.observe.gauges import PREFIX
from zenlead.observe.http import Pieces, Request, Response
from zenlead.observe.importdiet import prometheus_async_aio
from zenlead.observe.metrics import METRICS_COLLECTION
from zenlead.observe.rooms import SLOW_BUCKETS_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zenlead.observe.metrics import Metrics

# Half a millisecond of work, by far the most of which is making the text and a little compressing it.
CHUNK_CHARS = 32 * 1024
CHUNK_PIECES = 256  # as many owners with nothing to say are asked in a tenth of that
_PART_BYTES = 32 * 1024  # compressed
_UNPACK_BYTES = 1024  # compressed; some 40 KB of text
_OPENMETRICS_TYPE = "application/openmetrics-text"
_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say: with gzip's header and trailer
_LEVEL = 1  # four times as fast as the usual 6, and the result is only twice as big


class Packed:
    """A text, compressed bit by bit."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._parts: list[bytes] = []  # in few, for one large buffer that grows is copied time and again
        self._last = bytearray()
        self._length = 0  # of the text, in bytes

    def __repr__(self) -> str:
        return f"<Packed {self._length} bytes in {sum(map(len, self._parts)) + len(self._last)}>"

    def add(self, text: str) -> None:
        """Append ``text``."""
        encoded = text.encode()
        self._length += len(encoded)
        self._keep(self._compressor.compress(encoded), _PART_BYTES)

    def finish(self) -> None:
        """Nothing comes any more."""
        self._keep(self._compressor.flush(), 0)

    def packed(self) -> Pieces:
        """The compressed text."""
        return Pieces(sum(map(len, self._parts)), self._parts)

    def unpacked(self) -> Pieces:
        """The text itself; it is never there as a whole."""
        return Pieces(self._length, self._unpack())

    def _keep(self, compressed: bytes, least: int) -> None:
        self._last += compressed
        if len(self._last) > least:
            self._parts.append(bytes(self._last))
            self._last.clear()

    def _unpack(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(_GZIP)
        for part in self._parts:
            for at in range(0, len(part), _UNPACK_BYTES):
                yield unpacker.decompress(part[at : at + _UNPACK_BYTES])


class Scrape:
    """Answers GET /metrics within ``timeout_s``."""

    def __init__(self, metrics: Metrics, timeout_s: float) -> None:
        self._metrics = metrics
        self.timeout_s = timeout_s
        # One at a time: those that overlap wait in line, and one that gives up before its turn costs nothing.
        self._turn = asyncio.Lock()
        self._aio: Any = prometheus_async_aio()
        registry = metrics.registry
        self._seconds = Histogram(
            f"{PREFIX}scrape_duration_seconds",
            "Time to answer a scrape.",
            buckets=SLOW_BUCKETS_S,
            registry=registry,
        )
        self._running = Gauge(f"{PREFIX}scrapes_in_progress", "Scrapes being answered.", registry=registry)
        self._timeouts = metrics.timeouts(METRICS_COLLECTION)

    def __repr__(self) -> str:
        return f"<Scrape timeout_s={self.timeout_s:g} busy={self._turn.locked()}>"

    async def respond(self, request: Request) -> Response:
        """The metrics in the format that the client asks for; 503 when they are not ready in time."""
        openmetrics = _OPENMETRICS_TYPE in request.headers.get("accept", "")
        aio = self._aio
        bounded = aio.count_exceptions(
            self._timeouts, self._collect_in_time(openmetrics=openmetrics), exc=TimeoutError
        )
        try:
            text: Packed = await aio.track_inprogress(self._running, aio.time(self._seconds, bounded))
        except TimeoutError:
            words = f"collecting the metrics took longer than {self.timeout_s:g} s\n"
            return Response(503, words.encode())
        content_type = CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            return Response(200, text.packed(), content_type, "gzip")
        return Response(200, text.unpacked(), content_type)

    async def _collect_in_time(self, *, openmetrics: bool) -> Packed:
        async with asyncio.timeout(self.timeout_s), self._turn:
            return await self._collect(openmetrics=openmetrics)

    async def _collect(self, *, openmetrics: bool) -> Packed:
        text, chunk, chars = Packed(), list[str](), 0
        for piece in self._metrics.pieces(openmetrics=openmetrics):
            chunk.append(piece)
            chars += len(piece)
            if chars >= CHUNK_CHARS or len(chunk) >= CHUNK_PIECES:
                text.add("".join(chunk))
                chunk, chars = [], 0
                await asyncio.sleep(0)
        text.add("".join(chunk))
        text.finish()
        return text


def accepts_gzip(header: str) -> bool:
    """Whether a client with this Accept-Encoding takes gzip (RFC 9110, section 12.5.3)."""
    for accepted in header.lower().split(","):
        coding, _, parameter = accepted.replace(" ", "").partition(";")
        if coding == "gzip":
            return parameter.strip("0.") != "q="
    return False
