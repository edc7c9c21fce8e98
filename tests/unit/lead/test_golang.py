"""Go's own tables for ParseDuration and ParseBool, and the places where a rewrite would drift from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zenlead.lead.golang import parse_bool, parse_duration

MAX_SECONDS = 9223372036.854775807


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("00s", 0.0),
        ("5s", 5.0),
        ("30s", 30.0),
        ("1478s", 1478.0),
        ("5.0s", 5.0),
        ("5.6s", 5.6),
        ("5.s", 5.0),
        (".5s", 0.5),
        ("1.0s", 1.0),
        ("1.00s", 1.0),
        ("1.004s", 1.004),
        ("1.0040s", 1.004),
        ("100.00100s", 100.001),
        ("10ns", 1e-8),
        ("11us", 11e-6),
        ("12\u00b5s", 12e-6),
        ("12\u03bcs", 12e-6),
        ("13ms", 0.013),
        ("14s", 14.0),
        ("15m", 900.0),
        ("16h", 57600.0),
        ("1.5h", 5400.0),
        ("1m30s", 90.0),
        ("250ms", 0.25),
        ("3h30m", 12600.0),
        ("10.5s4m", 250.5),
        ("1s1s", 2.0),
        ("2h3m4s5ms6us7ns", 7384.005006007),
        ("1h2m3s4ms5us6ns", 3723.004005006),
        ("39h9m14.425s", 140954.425),
        ("52763797000ns", 52.763797),
        ("0.3ns", 0.0),  # below a nanosecond: cut
        ("0.3333333333333333333h", 1200.0),  # rounds up in float64, as in Go
        ("9007199254.740993ms", 9007199.254740993),
        ("9223372036854775807ns", MAX_SECONDS),
        ("9223372036854775.807us", MAX_SECONDS),
        ("9223372036s854ms775us807ns", MAX_SECONDS),
        ("2562047h47m16.854775807s", MAX_SECONDS),
        ("0.100000000000000000000h", 360.0),  # more digits than an int64 holds
        ("0.9223372036854775807h", 3320.413933267),
        ("0.830103483285477580700h", 2988.372539827),
        ("0" * 5000 + "1s", 1.0),
    ],
)
def test_durations_that_go_accepts(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("3", "a number without a unit"),
        ("5", "a number without a unit"),
        ("00", "a number without a unit"),
        ("0.0", "a number without a unit"),
        ("1.2.3s", "not a duration"),
        ("1m5", "a number without a unit"),
        ("s", "a unit without a number"),
        (".", "a number without a unit"),
        (".s", "a unit without a number"),
        ("-", "has a sign"),
        ("-5s", "has a sign"),
        ("+5s", "has a sign"),
        ("-0", "has a sign"),
        ("1h-5m", "unknown unit 'h-'"),
        ("1h+5m", "unknown unit 'h+'"),
        ("1h -5m", "unknown unit 'h -'"),
        (" 5s", "a unit without a number"),
        ("5s ", "unknown unit 's '"),
        ("5s\n", "unknown unit"),
        ("5 s", "unknown unit ' s'"),
        ("1d", "unknown unit 'd'"),
        ("5S", "unknown unit 'S'"),
        ("5sec", "unknown unit 'sec'"),
        ("1e3s", "unknown unit 'e'"),
        ("\u0665s", "a unit without a number"),  # an Arabic-Indic five
        ("\u00b2s", "a unit without a number"),
        ("infs", "a unit without a number"),
        ("9223372036854775808ns", "longer than"),
        ("9223372036854775.808us", "longer than"),
        ("9223372036854ms775us808ns", "longer than"),
        ("3000000h", "longer than"),
        ("2562047h47m16.854775808s", "longer than"),
        ("9" * 5000 + "s", "longer than"),
    ],
)
def test_durations_that_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: a duration as Go writes it") as caught:
        parse_duration(text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 2**63 - 1))
def test_every_whole_nanosecond_survives(nanoseconds: int) -> None:
    seconds, rest = divmod(nanoseconds, 10**9)
    assert parse_duration(f"{nanoseconds}ns") == nanoseconds / 10**9
    assert parse_duration(f"{seconds}s{rest}ns") == nanoseconds / 10**9


@given(st.text(alphabet="0123456789.-+nuµmsh e", max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds <= MAX_SECONDS
    assert not set("+- ") & set(text)


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true(text: str) -> None:
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false(text: str) -> None:
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "yes", "no", "on", "off", "tRUE", "2", " true", "true\n", "01"])
def test_no_booleans(text: str) -> None:
    with pytest.raises(ValueError, match="not a boolean; allowed: true or false"):
        parse_bool(text)
