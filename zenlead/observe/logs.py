"""Logs: one line per event, JSON for machines, coloured words for a terminal.

Knows how a line looks and which level passes. Refuses to know what is worth a line (factlog.py does). The
rule not to break: no secret in a line. Libraries are heard from warning upwards only, since some of them log
whole requests below that, and what they say is combed for credentials.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import structlog
from opentelemetry import trace

from zenlead.observe.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    Event = MutableMapping[str, Any]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_CONSOLE_EVENT_WIDTH = 20  # our longest event; structlog's own 30 wastes a narrow terminal
_CREDENTIAL = re.compile(
    r"(?i)\b(bearer\s+|basic\s+|(?:access_|id_|refresh_)?token[\"']?\s*[=:]\s*[\"']?|"
    r"(?:password|secret)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+"
)


def configure(*, level: str, form: str, environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Set up logging of the whole process, to stderr unless told otherwise; and again, when that changes.

    ``level``: debug, info, warn(ing), error. ``form``: json, console or auto, which is console on a terminal.
    """
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    console = form == "console" or (form == "auto" and terminal)
    steps: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        Repeats(time.monotonic),
        in_its_trace,
        Timestamp(),
    ]
    factory: Any
    if console:
        colours = terminal and not environ.get("NO_COLOR")
        plain = structlog.dev.plain_traceback  # others print local variables, and those may be credentials
        steps.append(
            structlog.dev.ConsoleRenderer(
                colors=colours, pad_event_to=_CONSOLE_EVENT_WIDTH, exception_formatter=plain
            )
        )
        factory = structlog.PrintLoggerFactory(out)
    else:
        steps += [structlog.processors.format_exc_info, JsonLine()]
        factory = structlog.BytesLoggerFactory(out.buffer)
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=factory,
    )
    root = logging.getLogger()
    root.handlers[:] = [FromLibraries(logging.WARNING)]
    root.setLevel(logging.WARNING)


def logger() -> structlog.typing.FilteringBoundLogger:
    """The log of the process, as configured now."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()
    return log


def without_credentials(text: str) -> str:
    """The text with anything that looks like a credential replaced by ``***``."""
    return _CREDENTIAL.sub(r"\1***", text)


def in_its_trace(_: object, __: str, event: Event) -> Event:
    """Adds ``trace_id`` and ``span_id`` to a line that is written within a span."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


class Timestamp:
    """Adds RFC 3339 in UTC with milliseconds. The part down to the second is made once per second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, _: object, __: str, event: Event) -> Event:
        millis = time.time_ns() // 1_000_000
        second, rest = divmod(millis, 1000)
        if second != self._second:
            self._second = second
            self._text = datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        event["timestamp"] = f"{self._text}.{rest:03d}Z"
        return event


class JsonLine:
    """Renders an event as one line of JSON: timestamp, level, event, then the rest as given."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=repr).encode

    def __call__(self, _: object, __: str, event: Event) -> bytes:
        ordered = {key: event.pop(key) for key in ("timestamp", "level", "event")} | dict(event)
        try:
            return self._encode(ordered)
        except (UnicodeEncodeError, OverflowError, TypeError):  # half a character, a number beyond 64 bits
            return json.dumps(ordered, default=repr, skipkeys=True).encode()


class FromLibraries(logging.Handler):
    """Passes records of the standard library's logging on as events."""

    def emit(self, record: logging.LogRecord) -> None:
        """One event ``library.said``; never raises, as logging asks of handlers."""
        try:
            told = {"logger": record.name, "message": without_credentials(record.getMessage())}
            if record.exc_info and record.exc_info[1] is not None:
                told["exception"] = without_credentials(
                    "".join(traceback.format_exception(record.exc_info[1]))
                )
            log = structlog.get_logger("library")
            tell = log.error if record.levelno >= logging.ERROR else log.warning
            tell("library.said", **told)
        except Exception:
            self.handleError(record)
