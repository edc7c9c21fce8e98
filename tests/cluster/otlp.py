"""A collector of traces: it takes OTLP over HTTP as real ones do, or does not, and keeps what it got.

Knows the protocol's messages, by OpenTelemetry's own definition of them. Refuses to know which spans there
should be. The rule: attributes are kept as they came, under the names that they had on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from typing import TYPE_CHECKING, NamedTuple, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

NS = 1e9  # of a second


class Span(NamedTuple):
    """One span. Times are Unix seconds, ids hexadecimal; ``error`` is the status' words, None without one."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: float
    ended: float
    attributes: Mapping[str, str]
    error: str | None
    resource: Mapping[str, str]


class Collector:
    """Use it as an async context manager. ``spans`` in the order in which they came."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[Mapping[str, str]] = []
        self.url = ""
        self._news = asyncio.Event()
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"Collector({self.url} spans={len(self.spans)})"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()  # which undoes the compression that the headers name
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        told = ExportTraceServiceRequest.FromString(body)
        self.headers.append(dict(request.headers))
        for of_resource in told.resource_spans:
            resource = _plain(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                for span in scope.spans:
                    failed = span.status.code == span.status.STATUS_CODE_ERROR
                    self.spans.append(
                        Span(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.start_time_unix_nano / NS,
                            span.end_time_unix_nano / NS,
                            _plain(span.attributes),
                            span.status.message if failed else None,
                            resource,
                        )
                    )
        self._news.set()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace, in the order in which they began."""
        return sorted((s for s in self.spans if s.trace_id == trace_id), key=lambda s: (s.began, -s.ended))

    async def whole(self, trace_id: str, timeout_s: float = 10.0) -> list[Span]:
        """The same, once its root is there, which ends last."""
        async with asyncio.timeout(timeout_s):
            while not any(not span.parent_id for span in self.trace(trace_id)):
                self._news.clear()
                await self._news.wait()
        return self.trace(trace_id)


def _plain(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in attributes}


class BlackHole:
    """Something that takes connections and never says a word. Use it as an async context manager."""

    def __init__(self) -> None:
        self.taken = 0
        self.url = ""
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    def __repr__(self) -> str:
        return f"BlackHole({self.url} taken={self.taken})"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _take(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        self._writers.append(writer)
