"""What one knob is, and how the texts that users write become its value.

Knows grammars of single values and the shape of a complaint. Refuses to know which knobs exist (settings.py)
and to look at the environment. The rule not to break: a parser raises ValueError that says what is allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from zenlead.lead.golang import parse_bool, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

ENV_PREFIX = "ZEN_LEAD_"
INT_MAX = 2**31 - 1  # no count or delay of ours means anything beyond, and it fits every library's integers

_METADATA = "knob"
_SHOWN = 60  # characters of a wrong value in a message
_ALIKE = 0.7  # difflib's measure; below, a suggestion is a guess that misleads
# Neither takes a leading zero: Go and YAML read 0777 as octal, people read it as decimal.
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,17})?(\.[0-9]{1,18})|0|[1-9][0-9]{0,17}")
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_LABEL_ONLY = re.compile(_LABEL)
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.IGNORECASE)
_SUBDOMAIN_MAX = 253  # Kubernetes: RFC 1123 subdomain
_ADDRESS = ":8080, 127.0.0.1:8080, [::1]:8080, or 0 to switch it off"


@dataclasses.dataclass(frozen=True, slots=True)
class Grammar(Generic[T]):
    """What a text may be and what it means. Calling it parses; ValueError says what is wrong and allowed."""

    parse: Callable[[str], T]
    allowed: str  # in words, as they stand in documents
    word: str  # stands for a value in help
    is_list: bool = False  # a list in the config file is the same as its items with commas between

    def __call__(self, text: str) -> T:
        return self.parse(text)


def grammar(allowed: str, word: str, *, is_list: bool = False) -> Callable[[Callable[[str], T]], Grammar[T]]:
    """Makes a Grammar of the function below it."""
    return lambda parse: Grammar(parse, allowed, word, is_list)


class Knob(NamedTuple):
    """One thing a user can set; its names on every way in derive from ``field``."""

    field: str  # of Settings; durations carry their unit there (…_s), the flag does not
    default: str  # as a user would write it
    parse: Grammar[Any]
    group: str
    help: str
    also_env: str = ""  # an environment variable that counts after our own
    in_file: bool = True  # may stand in the config file
    live: bool = False  # a change of the file takes effect while the controller runs

    @property
    def flag(self) -> str:
        """``metrics-bind-address``, without dashes in front."""
        return self.field.removesuffix("_s").replace("_", "-")

    @property
    def env(self) -> str:
        """``ZEN_LEAD_METRICS_BIND_ADDRESS``."""
        return ENV_PREFIX + self.flag.replace("-", "_").upper()

    @property
    def key(self) -> str:
        """``metricsBindAddress``, the name in the config file."""
        first, *others = self.flag.split("-")
        return first + "".join(word.capitalize() for word in others)

    @property
    def is_switch(self) -> bool:
        """True for booleans, whose flag needs no value."""
        return self.parse is switch


class Given(NamedTuple):
    """What a user wrote, and where: ``flag``, ``environment NAME``, ``PATH line N`` or ``default``."""

    text: str
    source: str
    key: str = ""  # under which it stands in the config file


class Address(NamedTuple):
    """Where to listen. An empty host means every interface, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def knob(
    default: str, parse: Grammar[T], group: str, help: str, *, also_env: str = "", in_file: bool = True
) -> T:
    """A dataclass field that carries its Knob. Typed as its value, so mypy checks grammar against field."""
    spec = Knob("", default, parse, group, help, also_env, in_file)
    return dataclasses.field(default=parse(default), metadata={_METADATA: spec})


def live(default: str, parse: Grammar[T], group: str, help: str, *, also_env: str = "") -> T:
    """The same for a knob that can be turned while the controller runs."""
    spec = Knob("", default, parse, group, help, also_env, live=True)
    return dataclasses.field(default=parse(default), metadata={_METADATA: spec})


def knobs_of(settings: type) -> tuple[Knob, ...]:
    """The knobs of a dataclass in the order they are written there."""
    return tuple(
        field.metadata[_METADATA]._replace(field=field.name)
        for field in dataclasses.fields(settings)
        if _METADATA in field.metadata
    )


def problem(flag: str, given: Given, reason: str) -> str:
    """One line: the flag, the text, where it came from, what is wrong with it."""
    where = f"{given.source}, key {given.key}" if given.key else given.source
    return f"--{flag}: {shown(given.text)} ({where}): {reason}"


def shown(text: str) -> str:
    """Any text on one line and not too long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is written most alike."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]


def similar(word: str, known: Iterable[str]) -> str | None:
    """The known word that is written most alike, whatever its case and dashes; None when none is."""
    plain = {_plain(other): other for other in known}
    found = difflib.get_close_matches(_plain(word), list(plain), n=1, cutoff=_ALIKE)
    return plain[found[0]] if found else None


def _plain(word: str) -> str:
    return word.replace("-", "").replace("_", "").lower()


switch: Grammar[bool] = Grammar(parse_bool, "true or false", "BOOL")


def whole(low: int, high: int = INT_MAX) -> Grammar[int]:
    """A whole number from ``low`` to ``high``."""
    allowed = f"a whole number from {low} to {high}"

    @grammar(allowed, "N")
    def parse(text: str) -> int:
        if _WHOLE.fullmatch(text) and low <= int(text) <= high:
            return int(text)
        raise _refused(text, allowed)

    return parse


_NUMBERS = f"a number from 0 to {INT_MAX}"


@grammar(_NUMBERS, "N")
def number(text: str) -> float:
    """A decimal number, not negative."""
    if _NUMBER.fullmatch(text) and float(text) <= INT_MAX:
        return float(text)
    raise _refused(text, _NUMBERS)


def _refused(text: str, allowed: str) -> ValueError:
    """Says of a number that is none what is wrong with it."""
    if len(text) > 1 and text[0] == "0" and text.isdigit():
        return ValueError(f"begins with 0, which some read as octal; allowed: {allowed}")
    return ValueError(f"not allowed; allowed: {allowed}")


@grammar("a duration longer than 0s, such as 2s", "DURATION")
def duration(text: str) -> float:
    """Seconds, more than none, written as a Go duration."""
    seconds = parse_duration(text)
    if seconds > 0:
        return seconds
    raise ValueError("not allowed; allowed: a duration longer than 0s, such as 2s")


_WHOLE_SECONDS = "a duration of whole seconds, at least 1s (a Lease stores no fraction)"


@grammar(_WHOLE_SECONDS, "DURATION")
def whole_seconds(text: str) -> float:
    """A duration of whole seconds: a Lease stores its duration as an integer."""
    seconds = parse_duration(text)
    if seconds.is_integer() and 1 <= seconds <= INT_MAX:
        return seconds
    raise ValueError(f"not allowed; allowed: {_WHOLE_SECONDS}")


def one_of(*choices: str) -> Grammar[str]:
    """One of a few words, in any case."""
    allowed = ", ".join(choices)

    @grammar(allowed, "WORD")
    def parse(text: str) -> str:
        if text.lower() in choices:
            return text.lower()
        raise ValueError(f"not allowed; allowed: {allowed}")

    return parse


@grammar("one line of text", "TEXT")
def anything(text: str) -> str:
    """Any text on one line."""
    if text.isprintable():
        return text
    raise ValueError("has characters that do not print; allowed: one line of text")


path = dataclasses.replace(anything, allowed="a path", word="PATH")

_OBJECT_NAMES = "lower-case letters, digits, - and ., at most 253 characters"


@grammar(_OBJECT_NAMES, "NAME")
def object_name(text: str) -> str:
    """A name that the API server takes for an object."""
    if _SUBDOMAIN.fullmatch(text) and len(text) <= _SUBDOMAIN_MAX:
        return text
    raise ValueError(f"no object name; allowed: {_OBJECT_NAMES}")


_NAMESPACES = "names with commas between, such as team-a,team-b"


@grammar(_NAMESPACES, "NAMES", is_list=True)
def namespaces(text: str) -> tuple[str, ...]:
    """Names of namespaces between commas, each once, in the order written; empty means all of them."""
    names = dict.fromkeys(part.strip() for part in text.split(",")) if text.strip() else {}
    for name in names:
        if not _LABEL_ONLY.fullmatch(name):
            raise ValueError(f"{shown(name)} is no namespace; allowed: {_NAMESPACES}")
    return tuple(names)


@grammar(_ADDRESS, "ADDRESS")
def address(text: str) -> Address | None:
    """Where to listen; None when the text (``0`` or nothing) switches the server off."""
    if text in {"", "0"}:
        return None
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"has no port; allowed: {_ADDRESS}")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise ValueError(f"its port is no number from 0 to 65535; allowed: {_ADDRESS}")
    return Address(_host(host), int(port))


def _host(text: str) -> str:
    """The host of an address, without brackets."""
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f"{shown(text)} is no IPv6 address; allowed: {_ADDRESS}") from None
    if ":" in text:
        raise ValueError(
            f"an IPv6 address stands in brackets, and only one colon before the port; allowed: {_ADDRESS}"
        )
    if text and not text.strip("0123456789."):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError(f"{shown(text)} is no IPv4 address; allowed: {_ADDRESS}") from None
    if text and not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is no host; allowed: {_ADDRESS}")
    return text
