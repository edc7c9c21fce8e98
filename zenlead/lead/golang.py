"""Durations and booleans as Go's standard library reads them, because users of Kubernetes write them so.

Knows two small grammars. Refuses to know where a text came from: callers say that in their own message.
The rule not to break: accept what Go accepts and refuse what Go refuses, except for a duration's sign, which
zenlead has no use for. Source: Go documentation of ``time.ParseDuration`` and ``strconv.ParseBool``.
"""

from __future__ import annotations

import re

DURATION_ALLOWED = "a duration as Go writes it, such as 1m30s, 250ms or 1.5h, without a sign"
BOOL_ALLOWED = "true or false (also 1 t T TRUE True 0 f F FALSE False)"

_NS_PER_SECOND = 1_000_000_000
_MAX_NS = 2**63 - 1  # Go keeps a duration in an int64 of nanoseconds, some 292 years
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # MICRO SIGN
    "\u03bcs": 1_000,  # GREEK SMALL LETTER MU
    "ms": 1_000_000,
    "s": _NS_PER_SECOND,
    "m": 60 * _NS_PER_SECOND,
    "h": 3600 * _NS_PER_SECOND,
}
_UNIT_SHOWN = 8  # characters of an unknown unit in a message: the texts come from annotations, of any length
# ASCII digits only: \d would let in digits of other scripts.
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_duration(text: str) -> float:
    """Seconds, never negative. ValueError says why the text is no duration and what is allowed."""
    if text == "0":
        return 0.0
    total = at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise _no_duration("a number without a unit" if text[at:].strip("0123456789.") == "" else "")
        total += _term_ns(*term.groups(default=""))
        at = term.end()
    if not text:
        raise _no_duration("empty")
    if total > _MAX_NS:
        raise _no_duration("longer than 2562047h47m16.854775807s")
    return total / _NS_PER_SECOND


def parse_bool(text: str) -> bool:
    """True or False. ValueError says what is allowed."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"not a boolean; allowed: {BOOL_ALLOWED}")


def _term_ns(whole: str, fraction: str, unit: str) -> int:
    """Nanoseconds of one ``<number><unit>``."""
    if unit[0] in "+-":
        raise _no_duration("has a sign")
    if not whole and not fraction:
        raise _no_duration("a unit without a number")
    if unit not in _UNIT_NS:
        raise _no_duration(f"unknown unit {unit[:_UNIT_SHOWN]!r}")
    whole = whole.lstrip("0")
    if len(whole) > len(str(_MAX_NS)):
        return _MAX_NS + 1  # int() refuses thousands of digits, and the answer is known
    return int(whole or "0") * _UNIT_NS[unit] + _fraction_ns(fraction, _UNIT_NS[unit])


def _fraction_ns(digits: str, unit_ns: int) -> int:
    """The part after the point, rounded as Go does it: in a float64, cut to whole nanoseconds."""
    value, scale = 0, 1.0
    for digit in digits:
        longer = value * 10 + int(digit)
        if value > _MAX_NS // 10 or longer > _MAX_NS + 1:
            break  # Go ignores the digits that an int64 cannot hold
        value, scale = longer, scale * 10
    return int(float(value) * (unit_ns / scale))


def _no_duration(why: str) -> ValueError:
    detail = f" ({why})" if why else ""
    return ValueError(f"not a duration{detail}; allowed: {DURATION_ALLOWED}")
