"""Spans: none without a collector, real ones with one, and no waiting for one that is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from structlog.testing import capture_logs

from zenlead.observe import telemetry
from zenlead.observe.telemetry import Telemetry, sampled_trace, start

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
    assert made.span is None
    assert repr(made) == "<Telemetry off>"
    assert logs == []
    await made.close()


@pytest.mark.parametrize(
    "more", [{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_TRACES_EXPORTER": "console"}]
)
def test_what_is_not_built_in_is_said(more: dict[str, str]) -> None:
    with capture_logs() as logs:
        assert start(ENDPOINT | more).span is None
    assert [line["event"] for line in logs] == ["telemetry.off"]
    assert "opentelemetry-instrument" in logs[0]["reason"]


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as logs:
        assert start(ENDPOINT).span is None
    assert [line["event"] for line in logs] == ["telemetry.off"]
    assert logs[0]["reason"].endswith("install zenlead[otel] to send spans")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of a provider go that somebody has installed already."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return made


def test_spans_of_a_provider_that_is_there_already(exporter: InMemorySpanExporter) -> None:
    span = start({}).span
    assert span is not None
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


def test_a_span_begins_when_its_cause_did(exporter: InMemorySpanExporter) -> None:
    span = start({}).span
    assert span is not None
    before = time.time_ns()
    with span("reconcile", {}, 0.25) as say:
        say("error", "conflict")
    (found,) = exporter.get_finished_spans()
    assert found.start_time is not None
    assert found.end_time is not None
    assert before - 250_000_000 <= found.start_time <= time.time_ns() - 250_000_000
    assert found.end_time - found.start_time >= 250_000_000
    assert (found.status.status_code, found.status.description) == (trace.StatusCode.ERROR, "conflict")
    assert not found.attributes


def test_the_trace_that_is_open_here(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sampled_trace() == ""
    span = start({}).span
    assert span is not None
    with span("reconcile", {}):
        inside = sampled_trace()
    (found,) = exporter.get_finished_spans()
    assert inside == f"{found.context.trace_id:032x}"
    unsampled = TracerProvider(sampler=ALWAYS_OFF)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: unsampled)
    span = start({}).span
    assert span is not None
    with span("reconcile", {}):
        assert sampled_trace() == "", "nobody could look it up"


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
        assert made.span is not None
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
            await Telemetry(None, wait_for_the_collector).close()
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
