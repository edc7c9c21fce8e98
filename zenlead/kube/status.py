"""From an HTTP answer that is no success to the one error class it means.

Knows status codes, Status objects and Retry-After. Refuses to know connections. The rule: this is the only
place where a number becomes a class, and no text leaves it longer than a line.
Source: Kubernetes API conventions, "Response Status Kind"; RFC 9110, section 10.2.3.
"""

from __future__ import annotations

import email.utils
import re
from typing import TYPE_CHECKING

import msgspec

from zenlead.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Throttled,
    Unauthorized,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE_LIMIT = 500  # characters: admission webhooks write essays, and this ends up in one log line
FOREIGN_LIMIT = 160  # characters of a body that is no Status: a proxy's page says what matters in its title

BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Throttled,
}
# Watch and list say Expired with a 410, but a proxy or a stream may carry the reason with another code.
BY_REASON: dict[str, type[ApiError]] = {"AlreadyExists": AlreadyExists, "Expired": Gone, "Gone": Gone}

_MARKUP = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)


class _Cause(msgspec.Struct):
    reason: str | None = None


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None
    retry_after: float | None = msgspec.field(name="retryAfterSeconds", default=None)


class _Status(msgspec.Struct):
    message: str | None = None
    reason: str | None = None
    details: _Details | None = None


def error_of(request: str, status: int, headers: Mapping[str, str], body: bytes, now: float) -> ApiError:
    """The error that an answer with ``status`` means.

    ``request`` is how messages name the request (``GET pods``); ``now`` is wall time in Unix seconds, for a
    Retry-After that is a date.
    """
    said = _read_status(body) or _Status(message=_foreign_text(body))
    reason = said.reason or ""
    details = said.details or _Details()
    retry_after_s = _retry_after(headers.get("Retry-After"), now)
    if retry_after_s is None and details.retry_after:
        retry_after_s = details.retry_after
    kind = BY_REASON.get(reason) or BY_STATUS.get(status, Unreachable)
    message = one_line(said.message or "", MESSAGE_LIMIT)
    return kind(
        f"{request}: {status} {message.removeprefix(str(status)).lstrip() or reason or 'unexplained'}",
        status=status,
        reason=reason,
        causes=tuple(cause.reason for cause in details.causes or () if cause.reason),
        retry_after_s=retry_after_s,
    )


def explained(error: ApiError, addition: str) -> ApiError:
    """The same error with ``addition`` at the end of its text."""
    return type(error)(
        f"{error.message}; {addition}",
        status=error.status,
        reason=error.reason,
        causes=error.causes,
        retry_after_s=error.retry_after_s,
    )


def result_of(kind: type[ApiError]) -> str:
    """How facts and metrics name an error: its class in snake case, ``already_exists``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def one_line(text: str, limit: int) -> str:
    """``text`` without line breaks and characters that do not print, at most ``limit`` characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _read_status(body: bytes) -> _Status | None:
    try:
        return msgspec.json.decode(body, type=_Status)
    except (ValueError, RecursionError):
        return None


def _foreign_text(body: bytes) -> str:
    """What a proxy or a load balancer meant, without its markup."""
    return one_line(_MARKUP.sub(" ", body[:8192].decode("utf-8", "replace")), FOREIGN_LIMIT)


def _retry_after(value: str | None, now: float) -> float | None:
    """Seconds from a Retry-After header, which is a number of seconds or a date; None when it is neither."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
