"""Spans: none without a collector, real ones with one, and no waiting for one that is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from zenlead.observe import telemetry
from zenlead.observe.telemetry import Telemetry, no_span, start

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "x"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
async def test_nothing_is_traced_unless_asked_for(environ: dict[str, str]) -> None:
    with capture_logs() as logs:
        made = start(environ)
    assert made.span is no_span
    assert repr(made) == "<Telemetry null>"
    assert logs == []
    await made.close()


def test_a_null_span_takes_everything_and_hides_no_error() -> None:
    with no_span("reconcile", {"namespace": "t1"}) as attribute, no_span("write", {}) as inner:
        attribute("result", "success")
        inner("result", "success")
    with pytest.raises(KeyError), no_span("reconcile", {}):
        raise KeyError("x")


@pytest.mark.parametrize(
    "more", [{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_TRACES_EXPORTER": "console"}]
)
def test_what_is_not_built_in_is_said(more: dict[str, str]) -> None:
    with capture_logs() as logs:
        assert start(ENDPOINT | more).span is no_span
    assert [line["event"] for line in logs] == ["telemetry.off"]
    assert "opentelemetry-instrument" in logs[0]["reason"]


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as logs:
        assert start(ENDPOINT).span is no_span
    assert [line["event"] for line in logs] == ["telemetry.off"]
    assert logs[0]["reason"].endswith("install zenlead[otel] to send spans")


def test_spans_of_a_provider_that_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    span = start({}).span
    with span("reconcile", {"namespace": "t1", "service": "web", "lane": "urgent"}) as attribute:
        with span("write", {"resource": "endpointslices"}):
            pass
        attribute("result", "success")
    with pytest.raises(KeyError), span("reconcile", {}):
        raise KeyError("x")
    write, reconcile, failed = exporter.get_finished_spans()
    assert reconcile.name == "reconcile"
    assert dict(reconcile.attributes or {}) == {
        "k8s.namespace.name": "t1",
        "k8s.service.name": "web",
        "zen_lead.lane": "urgent",
        "zen_lead.result": "success",
    }
    assert write.parent is not None
    assert write.parent.span_id == reconcile.context.span_id
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert [event.name for event in failed.events] == ["exception"]


async def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")
        )
        received.extend([head, await reader.readexactly(length)])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with asyncio.timeout(10), await asyncio.start_server(collect, "127.0.0.1", 0) as collector:
        port = collector.sockets[0].getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        made = start({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
        assert repr(made) == "<Telemetry on>"
        with made.span("reconcile", {"namespace": "t1", "service": "web"}):
            pass
        await made.close()
    assert received[0].startswith(b"POST /v1/traces ")
    assert b"reconcile" in received[1]
    assert b"zenlead" in received[1]


async def test_the_end_waits_no_longer_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "FLUSH_TIMEOUT_S", 0.02)
    stuck = threading.Event()

    def wait_for_the_collector() -> None:
        stuck.wait(5)

    with capture_logs() as logs:
        async with asyncio.timeout(2):
            await Telemetry(no_span, wait_for_the_collector).close()
    assert [line["event"] for line in logs] == ["telemetry.lost"]
    stuck.set()


def test_a_process_with_an_unreachable_collector_ends_at_once() -> None:
    code = (
        "import asyncio, os, time\n"
        "from zenlead.observe import telemetry\n"
        "telemetry.FLUSH_TIMEOUT_S = 0.2\n"
        "made = telemetry.start(os.environ)\n"
        "with made.span('reconcile', {}): pass\n"
        "asyncio.run(made.close())\n"
        "print('end', made)"
    )
    environ = ENDPOINT | {"PATH": "/usr/bin", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=10
    )
    assert done.stdout.splitlines()[-1] == "end <Telemetry on>"
