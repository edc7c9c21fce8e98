"""Spans around passes and writes, by OpenTelemetry, for those who collect them.

Knows OpenTelemetry's API and its environment variables. Refuses to know what is being traced: the controller
is handed ``span`` and never imports this. The rule not to break: who has no collector pays nothing, and a
collector that cannot be reached delays nothing, the end of the process included.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from opentelemetry import trace

from zenlead import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

Attribute = Callable[[str, str], None]  # adds what is known only at the end, such as the result


class Span(Protocol):
    """As the controller asks for it: a span called ``name`` that began ``ago_s`` seconds ago."""

    def __call__(
        self, name: str, attributes: Mapping[str, str], ago_s: float = 0.0, /
    ) -> AbstractContextManager[Attribute]: ...


FLUSH_TIMEOUT_S = 2.0  # at the end; the Lease is free by then, and Kubernetes waits for 30 s at most
EXPORT_TIMEOUT_S = 5.0  # of one batch; whoever is slower loses spans, not time
FAILED = "error"  # the attribute that makes a span one that failed; its value says why

_PROTOCOL = "http/protobuf"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
# How our words are called where OpenTelemetry has a name for them; others get our own prefix.
_NAMES = {"namespace": "k8s.namespace.name", "service": "k8s.service.name"}
_PREFIX = "zen_lead."
_NS = 1_000_000_000  # of a second
_LOG = structlog.get_logger("zenlead.telemetry")


class Telemetry:
    """``span`` for the controller, None when nobody collects spans, and the end of it. Made by ``start``."""

    def __init__(self, span: Span | None, shutdown: Callable[[], None] | None = None) -> None:
        self.span = span
        self._shutdown = shutdown

    def __repr__(self) -> str:
        return f"<Telemetry {'off' if self.span is None else 'on'}>"

    async def close(self) -> None:
        """Send what is left, for at most FLUSH_TIMEOUT_S; what is not sent by then is lost."""
        if self._shutdown is None:
            return
        shutdown = self._shutdown
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def flush() -> None:
            try:
                shutdown()
            finally:
                with contextlib.suppress(RuntimeError):  # the loop did not wait for us
                    loop.call_soon_threadsafe(done.set)

        # A daemon thread: neither the loop nor the interpreter waits for it at the end, as for executors.
        threading.Thread(target=flush, name="telemetry-flush", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await done.wait()
        except TimeoutError:
            _LOG.warning(
                "telemetry.lost", reason=f"the collector did not answer within {FLUSH_TIMEOUT_S:g} s"
            )


def start(environ: Mapping[str, str]) -> Telemetry:
    """Decide once: a provider that is there, else our own when an endpoint is given, else nothing."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Telemetry(None)
    installed = trace.get_tracer_provider()
    if not isinstance(installed, trace.ProxyTracerProvider):  # opentelemetry-instrument came before us
        return Telemetry(_spans_of(installed))
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter == "none" or not any(environ.get(name) for name in _ENDPOINTS):
        return Telemetry(None)
    protocol = next(filter(None, map(environ.get, _PROTOCOLS)), _PROTOCOL)
    if exporter != "otlp" or protocol != _PROTOCOL:
        return _off(
            f"only OTEL_TRACES_EXPORTER=otlp over {_PROTOCOL} is built in; opentelemetry-instrument has more"
        )
    try:
        provider = _provider(environ)
    except ImportError as missing:
        return _off(f"{missing}; install zenlead[otel] to send spans")
    return Telemetry(_spans_of(provider), provider.shutdown)


def sampled_trace() -> str:
    """The id of the trace that is open here, if it will be exported; else nothing."""
    context = trace.get_current_span().get_span_context()
    sampled = context.is_valid and context.trace_flags.sampled
    return trace.format_trace_id(context.trace_id) if sampled else ""


def _off(reason: str) -> Telemetry:
    _LOG.warning("telemetry.off", reason=reason)
    return Telemetry(None)


def _provider(environ: Mapping[str, str]) -> Any:
    """A provider that exports over OTLP/HTTP; everything else comes from OTEL_* as the SDK reads it."""
    sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
    export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
    resources: Any = importlib.import_module("opentelemetry.sdk.resources")
    otlp: Any = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    about = resources.Resource.create({"service.version": __version__})
    if about.attributes.get("service.name", "").startswith("unknown_service"):
        about = about.merge(resources.Resource({"service.name": "zenlead"}))
    # At exit the SDK would flush with its own, longer patience; close() does it with ours.
    provider = sdk.TracerProvider(resource=about, shutdown_on_exit=False)
    asked_for = any(environ.get(name) for name in _TIMEOUTS)
    exporter = otlp.OTLPSpanExporter(timeout=None if asked_for else EXPORT_TIMEOUT_S)
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    return provider


def _spans_of(provider: trace.TracerProvider) -> Span:
    tracer = provider.get_tracer("zenlead", __version__)

    @contextlib.contextmanager
    def span(name: str, attributes: Mapping[str, str], ago_s: float = 0.0, /) -> Iterator[Attribute]:
        named = {_name(key): value for key, value in attributes.items()}
        began = time.time_ns() - round(ago_s * _NS)
        with tracer.start_as_current_span(name, attributes=named, start_time=began) as current:
            yield lambda key, value: _say(current, key, value)

    return span


def _say(span: trace.Span, key: str, value: str) -> None:
    if key == FAILED:
        span.set_status(trace.StatusCode.ERROR, value)
    else:
        span.set_attribute(_name(key), value)


def _name(key: str) -> str:
    return _NAMES.get(key, _PREFIX + key)
