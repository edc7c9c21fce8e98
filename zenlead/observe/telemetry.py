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
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import trace

from zenlead import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

Attribute = Callable[[str, str], None]  # adds what is known only at the end, such as the result
Span = Callable[[str, Mapping[str, str]], AbstractContextManager[Attribute]]

FLUSH_TIMEOUT_S = 2.0  # at the end; the Lease is free by then, and Kubernetes waits for 30 s at most
EXPORT_TIMEOUT_S = 5.0  # of one batch; whoever is slower loses spans, not time

_PROTOCOL = "http/protobuf"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# How our words are called where OpenTelemetry has a name for them; others get our own prefix.
_NAMES = {"namespace": "k8s.namespace.name", "service": "k8s.service.name"}
_PREFIX = "zen_lead."
_LOG = structlog.get_logger("zenlead.telemetry")


class Telemetry:
    """``span`` for the controller, and the end of it all. Made by ``start``."""

    def __init__(self, span: Span, shutdown: Callable[[], None] | None = None) -> None:
        self.span = span
        self._shutdown = shutdown

    def __repr__(self) -> str:
        return f"<Telemetry {'null' if self.span is no_span else 'on'}>"

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


def no_span(name: str, attributes: Mapping[str, str]) -> AbstractContextManager[Attribute]:
    """A span that nobody looks at."""
    del name, attributes
    return _NOTHING


def start(environ: Mapping[str, str]) -> Telemetry:
    """Decide once: a provider that is there, else our own when an endpoint is given, else nothing."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Telemetry(no_span)
    installed = trace.get_tracer_provider()
    if not isinstance(installed, trace.ProxyTracerProvider):  # opentelemetry-instrument came before us
        return Telemetry(_spans_of(installed))
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter == "none" or not any(environ.get(name) for name in _ENDPOINTS):
        return Telemetry(no_span)
    protocol = next(filter(None, map(environ.get, _PROTOCOLS)), _PROTOCOL)
    if exporter != "otlp" or protocol != _PROTOCOL:
        return _off(
            f"only OTEL_TRACES_EXPORTER=otlp over {_PROTOCOL} is built in; opentelemetry-instrument has more"
        )
    try:
        provider = _provider()
    except ImportError as missing:
        return _off(f"{missing}; install zenlead[otel] to send spans")
    return Telemetry(_spans_of(provider), provider.shutdown)


def _off(reason: str) -> Telemetry:
    _LOG.warning("telemetry.off", reason=reason)
    return Telemetry(no_span)


def _provider() -> Any:
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
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(timeout=EXPORT_TIMEOUT_S)))
    return provider


def _spans_of(provider: trace.TracerProvider) -> Span:
    tracer = provider.get_tracer("zenlead", __version__)

    @contextlib.contextmanager
    def span(name: str, attributes: Mapping[str, str]) -> Iterator[Attribute]:
        named = {_name(key): value for key, value in attributes.items()}
        with tracer.start_as_current_span(name, attributes=named) as current:
            yield lambda key, value: current.set_attribute(_name(key), value)

    return span


def _name(key: str) -> str:
    return _NAMES.get(key, _PREFIX + key)


def _ignore(key: str, value: str) -> None:
    del key, value


_NOTHING = contextlib.nullcontext(_ignore)  # holds no state, so one serves all
