"""The grammars of single values: what they take, and that each refusal says what is allowed."""

from __future__ import annotations

import pytest

from zenlead.knobs import (
    Address,
    Given,
    address,
    anything,
    duration,
    namespaces,
    nearest,
    number,
    object_name,
    one_of,
    problem,
    similar,
    whole,
    whole_seconds,
)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", None),
        ("0", None),
        (":8080", Address("", 8080)),
        (":0", Address("", 0)),
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),  # noqa: S104 - only parsed
        ("[::1]:8080", Address("::1", 8080)),
        ("[::]:1", Address("::", 1)),
        ("localhost:80", Address("localhost", 80)),
        ("pod-0.web.t1.svc:80", Address("pod-0.web.t1.svc", 80)),
    ],
)
def test_addresses(text: str, parsed: Address | None) -> None:
    assert address(text) == parsed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (":::8080", "an IPv6 address stands in brackets"),
        ("::1:8080", "an IPv6 address stands in brackets"),
        ("8080", "has no port"),
        ("localhost", "has no port"),
        (":", "its port is no number"),
        (":http", "its port is no number"),
        (":65536", "its port is no number"),
        (":-1", "its port is no number"),
        (":" + "9" * 5000, "its port is no number"),
        (":\u0668\u0660", "its port is no number"),
        ("[::1:8080", "an IPv6 address stands in brackets"),
        ("[127.0.0.1]:80", "is no IPv6 address"),
        ("[]:80", "is no IPv6 address"),
        ("1.2.3.999:80", "is no IPv4 address"),
        ("http://x:80", "an IPv6 address stands in brackets"),
        ("a b:80", "is no host"),
        ("-x:80", "is no host"),
    ],
)
def test_addresses_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: :8080, 127\.0\.0\.1:8080, \[::1\]:8080, or 0") as caught:
        address(text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_address_is_written_as_it_is_read() -> None:
    for text in (":8080", "127.0.0.1:1", "[::1]:8081", "localhost:80"):
        assert str(address(text)) == text


def test_whole_numbers() -> None:
    parse = whole(1, 10)
    assert [parse(text) for text in ("1", "7", "10")] == [1, 7, 10]
    for text in ("0", "11", "-1", "", "1.5", "1_0", " 1", "1e1", "ten", "\u0661", "9" * 5000, "1\n"):
        with pytest.raises(ValueError, match=r"^not allowed; allowed: a whole number from 1 to 10$"):
            parse(text)
    for text in ("007", "00", "0" * 5000):  # 7 for some, octal for others
        with pytest.raises(ValueError, match=r"begins with 0, .*; allowed: a whole number from 1 to 10"):
            parse(text)


def test_numbers() -> None:
    assert [number(text) for text in ("0", "50", "2.5", ".5")] == [0, 50, 2.5, 0.5]
    for text in ("", "-1", "nan", "inf", "1e3", "1.", ".", "50/s", "9" * 18, "010", "00.5"):
        with pytest.raises(ValueError, match="allowed: a number from 0 to"):
            number(text)


def test_durations_are_longer_than_none() -> None:
    assert duration("250ms") == 0.25
    for text in ("0", "0s", "0.1ns"):
        with pytest.raises(ValueError, match="allowed: a duration longer than 0s"):
            duration(text)


def test_whole_seconds() -> None:
    assert whole_seconds("1m15s") == 75
    for text in ("0", "500ms", "1.5s", "2000000h"):
        with pytest.raises(ValueError, match="allowed: a duration of whole seconds"):
            whole_seconds(text)


def test_words_in_any_case() -> None:
    assert one_of("debug", "info")("INFO") == "info"
    with pytest.raises(ValueError, match="allowed: debug, info"):
        one_of("debug", "info")("loud")


def test_namespaces() -> None:
    assert namespaces("") == namespaces(" ") == ()
    assert namespaces("team-b, team-a,team-b") == ("team-b", "team-a")
    for text in (",", "a,,b", "A", "a.b", "-a", "a" * 64):
        with pytest.raises(ValueError, match="is no namespace; allowed: names with commas"):
            namespaces(text)


def test_object_names() -> None:
    assert object_name("zen-lead.v2") == "zen-lead.v2"
    for text in ("", "Upper", "a..b", "a_b", "a" * 254, "a\n"):
        with pytest.raises(ValueError, match="no object name; allowed"):
            object_name(text)


def test_one_line_of_anything() -> None:
    assert anything("/home/ü/.kube/config") == "/home/ü/.kube/config"
    with pytest.raises(ValueError, match="allowed: one line of text"):
        anything("a\nb")


def test_a_problem_is_one_short_line() -> None:
    line = problem("qps", Given("x\ny" * 100, "environment ZEN_LEAD_QPS"), "no")
    assert line.startswith("--qps: 'x\\nyx")
    assert line.endswith("…' (environment ZEN_LEAD_QPS): no")
    assert "\n" not in line
    assert len(line) < 140


def test_a_word_is_similar_whatever_its_case_and_dashes() -> None:
    known = ["logLevel", "leaderElect", "leaderElectionId"]
    for word in ("loglevel", "log-level", "LOG_LEVEL", "logLevle"):
        assert similar(word, known) == "logLevel"
    assert similar("leader-elect", known) == "leaderElect"
    assert similar("password", known) is None
    assert similar("", known) is None


def test_every_grammar_says_in_its_refusals_what_documents_say() -> None:
    for grammar in (whole(1, 10), number, duration, whole_seconds, object_name, namespaces, address):
        with pytest.raises(ValueError, match="allowed: ") as caught:
            grammar(",\n")
        assert grammar.allowed.partition(",")[0] in str(caught.value) or "a duration as Go" in str(
            caught.value
        )


def test_the_nearest_word_always_exists() -> None:
    assert nearest("metric-bind-adress", ["metrics-bind-address", "qps"]) == "metrics-bind-address"
    assert nearest("€", ["qps"]) == "qps"
