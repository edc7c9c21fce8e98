"""How a line looks, which pass, and that no credential does."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from zenlead.observe import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.TextIOWrapper):
    """A stream in memory that may claim to be a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def configured(
    *, level: str = "info", form: str = "auto", terminal: bool = False, environ: dict[str, str] | None = None
) -> tuple[Any, Terminal]:
    out = Terminal(terminal)
    logs.configure(level=level, form=form, environ=environ or {}, stream=out)
    return structlog.get_logger(), out


def fail(message: str) -> None:
    raise ValueError(message)


def test_json_away_from_a_terminal() -> None:
    log, out = configured()
    log.info("leader.changed", service="web", ms=12.5, to="wéb-1")
    line = out.text()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    told = json.loads(line)
    assert list(told) == ["timestamp", "level", "event", "service", "ms", "to"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("timestamp"))
    assert told == {"level": "info", "event": "leader.changed", "service": "web", "ms": 12.5, "to": "wéb-1"}


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("json", True, True),
        ("json", False, True),
        ("console", False, False),
        ("console", True, False),
    ],
)
def test_formats(form: str, terminal: bool, is_json: bool) -> None:
    log, out = configured(form=form, terminal=terminal)
    log.info("a.b", service="web")
    assert out.text().startswith("{") == is_json
    assert "web" in out.text()


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (True, {"NO_COLOR": ""}, True), (False, {}, False)],
)
def test_colours(terminal: bool, environ: dict[str, str], coloured: bool) -> None:
    log, out = configured(form="console", terminal=terminal, environ=environ)
    log.info("a.b", service="web")
    assert ("\x1b[" in out.text()) == coloured


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["d", "i", "w", "e"]),
        ("info", ["i", "w", "e"]),
        ("warn", ["w", "e"]),
        ("warning", ["w", "e"]),
        ("error", ["e"]),
    ],
)
def test_levels(level: str, expected: list[str]) -> None:
    log, out = configured(level=level)
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert [json.loads(line)["event"] for line in out.text().splitlines()] == expected


@pytest.mark.parametrize("value", [object(), {1, 2}, "half \ud800", 2**70, {(1, 2): 3}])
def test_any_value_becomes_one_line_of_json(value: object) -> None:
    log, out = configured()
    log.info("odd", value=value)
    (line,) = out.text().splitlines()
    assert json.loads(line)["event"] == "odd"


def test_an_exception_is_one_line_of_json() -> None:
    log, out = configured()
    try:
        fail("odd")
    except ValueError:
        log.exception("task.failed")
    (line,) = out.text().splitlines()
    assert "ValueError: odd" in json.loads(line)["exception"]


def test_a_traceback_on_a_terminal_shows_no_local_variables() -> None:
    log, out = configured(form="console", terminal=True)
    try:
        token = "hunter" + "2"
        fail(str(len(token)))
    except ValueError:
        log.exception("task.failed")
    assert "ValueError" in out.text()
    assert "hunter2" not in out.text()


def test_libraries_are_heard_from_warning_upwards() -> None:
    _, out = configured(level="debug")
    library = logging.getLogger("kubernetes_asyncio.client.rest")
    library.debug("response body: secret")
    library.info("secret")
    library.warning("careful %s", "now")
    logging.getLogger("asyncio").log(35, "between levels")
    library.error("bad")
    told = [json.loads(line) for line in out.text().splitlines()]
    assert [(line["level"], line["event"], line["message"]) for line in told] == [
        ("warning", "library.said", "careful now"),
        ("warning", "library.said", "between levels"),
        ("error", "library.said", "bad"),
    ]
    assert told[0]["logger"] == "kubernetes_asyncio.client.rest"


def test_an_error_of_a_library_brings_its_traceback_without_credentials() -> None:
    _, out = configured()
    try:
        fail("Authorization: Bearer abc.def")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    (line,) = out.text().splitlines()
    told = json.loads(line)
    assert "Bearer ***" in told["exception"]
    assert "test_an_error_of_a_library" in told["exception"]
    assert "abc.def" not in line


def test_a_broken_record_does_not_stop_its_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    too_few = ("one",)
    logging.getLogger("x").warning("two %s %s", *too_few)
    assert "--- Logging error ---" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer eyJh.bGci.x-_", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz;", "authorization: basic ***;"),
        ("GET /x?access_token=abc&b=1", "GET /x?access_token=***&b=1"),
        ('{"id_token": "abc", "a": 1}', '{"id_token": "***", "a": 1}'),
        ("password=hunter2, user=x", "password=***, user=x"),
        ("client-secret: hunter2", "client-secret: ***"),
        ("the token expired", "the token expired"),
        ("web-0 is ready", "web-0 is ready"),
    ],
)
def test_credentials(text: str, expected: str) -> None:
    assert logs.without_credentials(text) == expected


def test_a_line_within_a_span_says_which() -> None:
    log, out = configured()
    log.info("outside")
    with TracerProvider().get_tracer("t").start_as_current_span("reconcile") as span:
        log.info("inside")
        context = span.get_span_context()
    outside, inside = (json.loads(line) for line in out.text().splitlines())
    assert not {"trace_id", "span_id"} & outside.keys()
    assert inside["trace_id"] == f"{context.trace_id:032x}"
    assert inside["span_id"] == f"{context.span_id:016x}"


def test_a_library_that_repeats_itself_is_heard_once() -> None:
    _, out = configured()
    for port in range(100):
        logging.getLogger("exporter").warning("no answer from port %d, again in %.2f s", port, port / 7)
    assert len(out.text().splitlines()) == 1


def test_the_second_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = logs.Timestamp()
    moments = iter([1_700_000_000_999_000_000, 1_700_000_001_000_000_000, 1_700_000_001_001_999_999])
    monkeypatch.setattr(logs.time, "time_ns", lambda: next(moments))
    assert [stamp(None, "", {})["timestamp"] for _ in range(3)] == [
        "2023-11-14T22:13:20.999Z",
        "2023-11-14T22:13:21.000Z",
        "2023-11-14T22:13:21.001Z",
    ]
