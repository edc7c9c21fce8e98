"""From answers to error classes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zenlead.kube import errors
from zenlead.kube.status import FOREIGN_LIMIT, MESSAGE_LIMIT, error_of, one_line, result_of

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


def answer(code: int, body: dict[str, Any] | bytes = b"", **headers: str) -> errors.ApiError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of("get /x", code, named, raw, NOW)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (405, "MethodNotAllowed", errors.Invalid),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (410, "Gone", errors.Gone),
        (413, "RequestEntityTooLarge", errors.Invalid),
        (415, "UnsupportedMediaType", errors.Invalid),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.Throttled),
        (302, "", errors.Unreachable),
        (418, "", errors.Unreachable),
        (500, "InternalError", errors.Unreachable),
        (503, "ServiceUnavailable", errors.Unreachable),
        (504, "Timeout", errors.Unreachable),
    ],
)
def test_each_status_has_one_class(code: int, reason: str, kind: type[errors.ApiError]) -> None:
    error = answer(code, {"kind": "Status", "reason": reason, "message": "no"})
    assert type(error) is kind
    assert (error.status, error.reason) == (code, reason)
    assert str(error) == f"get /x: {code} no"


def test_an_expired_version_is_gone_whatever_the_code() -> None:
    assert type(answer(200, {"reason": "Expired"})) is errors.Gone


def test_causes_are_kept() -> None:
    error = answer(
        403,
        {"reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}, {"field": "x"}]}},
    )
    assert error.causes == ("NamespaceTerminating",)


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"Retry_After": "7"}, {}, 7.0),
        ({"Retry_After": " 0 "}, {}, 0.0),
        ({"Retry_After": "Sun, 06 Nov 1994 08:50:00 GMT"}, {}, 23.0),
        ({"Retry_After": "Sun, 06 Nov 1994 08:00:00 GMT"}, {}, 0.0),
        ({"Retry_After": "7"}, {"retryAfterSeconds": 3}, 7.0),
        ({}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry_After": "soon"}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry_After": "soon"}, {}, None),
        ({"Retry_After": "-1"}, {}, None),
        ({}, {}, None),
    ],
)
def test_retry_after(headers: dict[str, str], details: dict[str, Any], seconds: float | None) -> None:
    assert answer(429, {"details": details}, **headers).retry_after_s == seconds


def test_nulls_in_a_status_are_absent() -> None:
    error = answer(409, {"reason": None, "message": None, "details": {"causes": None}})
    assert type(error) is errors.Conflict
    assert str(error) == "get /x: 409 unexplained"
    assert answer(409, {"details": None}).causes == ()


def test_a_proxys_page_becomes_one_short_line() -> None:
    page = (
        b"<html><head><style>b {x}</style><title>502 Bad\nGateway</title></head>\r\n<body>" + b"nginx " * 999
    )
    error = answer(502, page)
    assert type(error) is errors.Unreachable
    assert error.message.startswith("get /x: 502 Bad Gateway nginx nginx")
    assert "<" not in error.message
    assert "\n" not in error.message
    assert len(error.message) <= FOREIGN_LIMIT + len("get /x: 502 ")


def test_plain_text_and_silence() -> None:
    assert answer(404, b"404 page not found\n").message == "get /x: 404 page not found"
    assert answer(500).message == "get /x: 500 unexplained"


def test_long_messages_are_cut() -> None:
    assert len(answer(422, {"message": "x" * 9999}).message) <= MESSAGE_LIMIT + 20


@given(st.integers(100, 599), st.binary(max_size=200), st.text(max_size=40))
def test_no_answer_is_too_strange(code: int, body: bytes, retry_after: str) -> None:
    error = error_of("get /x", code, {"Retry-After": retry_after}, body, NOW)
    assert error.status == code
    assert error.message.isprintable()
    assert error.retry_after_s is None or error.retry_after_s >= 0


@given(st.text(max_size=50))
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text, 10)) <= 10
    assert not set(one_line(text, 10)) & set("\r\n\t\x00\x85")


def test_results_are_classes_in_snake_case() -> None:
    assert result_of(errors.AlreadyExists) == "already_exists"
    assert result_of(errors.Unreachable) == "unreachable"
