"""A fault that goes on fills no log, and nothing that happened once is missing."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from zenlead.observe.repeats import EVENT_LINES, EVENT_S, SAME_LINE_S, SAME_LINES, Repeats


class Log:
    """What passes, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.repeats = Repeats(lambda: self.now)

    def say(self, event: str, level: str = "warning", **fields: Any) -> dict[str, Any] | None:
        """The fields of the line as it is written, None when it is left out."""
        line = {"event": event, "level": level, **fields}
        try:
            self.repeats(None, level, line)
        except structlog.DropEvent:
            return None
        return {key: value for key, value in line.items() if key not in {"event", "level"}}


@pytest.fixture
def log() -> Log:
    return Log()


def test_the_same_line_comes_once_in_a_while_and_says_how_often(log: Log) -> None:
    told = {"namespace": "t1", "service": "web"}
    assert log.say("reconcile.failed", **told, error="version 17 is old", seconds=0.1) is not None
    for attempt in range(30):
        log.now += SAME_LINE_S / 40
        assert log.say("reconcile.failed", **told, error=f"version {attempt} is old", seconds=0.2) is None
    log.now += SAME_LINE_S
    again = log.say("reconcile.failed", **told, error="version 99 is old", seconds=0.3)
    assert again == {**told, "error": "version 99 is old", "seconds": 0.3, "repeated": 30}
    log.now += SAME_LINE_S
    assert "repeated" not in (log.say("reconcile.failed", **told, error="version 99 is old") or {})


@pytest.mark.parametrize(
    ("field", "other"), [("service", "web-1"), ("name", "web-1"), ("error", "something else")]
)
def test_another_subject_or_another_error_is_another_line(log: Log, field: str, other: str) -> None:
    told = {"service": "web-0", "name": "web-0", "error": "refused"}
    assert log.say("object.rejected", **told) is not None
    assert log.say("object.rejected", **(told | {field: other})) is not None


def test_a_storm_of_different_lines_is_bounded_and_counted(log: Log) -> None:
    written = [log.say("reconcile.failed", service=f"web-{number}") for number in range(1000)]
    assert sum(line is not None for line in written) == EVENT_LINES
    assert log.say("task.restarted", level="error", task="sweep") == {"task": "sweep"}, "other names pass"
    log.now += EVENT_S
    assert log.say("reconcile.failed", service="x") == {"service": "x", "left_out": 1000 - EVENT_LINES}
    assert log.say("reconcile.failed", service="y") == {"service": "y"}


@pytest.mark.parametrize("level", ["info", "debug"])
def test_what_is_no_fault_is_never_left_out(log: Log, level: str) -> None:
    for _ in range(10 * EVENT_LINES):
        assert log.say("leader.changed", level, **{"from": "a", "to": "b"}) == {"from": "a", "to": "b"}


def test_the_plans_of_a_dry_run_are_made_anew_by_every_pass(log: Log) -> None:
    assert log.say("write.planned", "info", body="{}") is not None
    assert log.say("write.planned", "info", body="{}") is None
    plans = [log.say("write.planned", "info", body=f'{{"a":{number}}}') for number in range(10 * EVENT_LINES)]
    assert None not in plans, "different plans are all told"


def test_what_is_remembered_is_bounded(log: Log) -> None:
    for number in range(3 * SAME_LINES):
        log.now += EVENT_S
        log.say("object.rejected", name=f"web-{number}")
    assert repr(log.repeats) == f"<Repeats lines={SAME_LINES} events=1>"
