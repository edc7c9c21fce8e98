"""One HTTP exchange as values: the request before anybody signs it, and what its answer or its failure means.

Knows URLs, headers, time and size limits, and what aiohttp raises. Refuses to know credentials and pools. The
rule: every body has a size limit, and no text repeats what aiohttp says of headers.
"""

from __future__ import annotations

import re
import time
import urllib.parse
from typing import TYPE_CHECKING

import msgspec

from zenlead.kube import importdiet  # noqa: F401  # first, for its effect on the imports below

# isort: split
import aiohttp

from zenlead.kube.errors import ApiError, Invalid, Unreachable
from zenlead.kube.status import FOREIGN_LIMIT, error_of, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zenlead.kube.resources import Resource

CONNECT_TIMEOUT_S = 5.0  # TCP and TLS; half the time of one request, so that a second address can be tried
BODY_LIMIT = 64 * 1024 * 1024  # bytes; pages of 200 pods have some 4 MiB
ERROR_BODY_LIMIT = 256 * 1024  # bytes; a Status is small, and a proxy's page need not be read to its end
TLS_PROBLEM = "TLS"  # the reason of an Unreachable that new credentials (a rotated CA) may mend
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
# What a segment of a path may hold: object names, and more than any of them.
SEGMENT = re.compile(r"[A-Za-z0-9._:~-]*")


class Request(msgspec.Struct, frozen=True):
    """One request, before anybody has signed it."""

    verb: str
    method: str
    resource: str
    namespace: str
    path: str
    timeout: aiohttp.ClientTimeout
    body: bytes | None = None
    content_type: str = ""

    @property
    def title(self) -> str:
        """How error texts call it."""
        return f"{self.verb} {self.path.partition('?')[0]}"


def limit(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=min(CONNECT_TIMEOUT_S, total_s))


def path_of(
    resource: Resource,
    namespace: str | None,
    name: str = "",
    subresource: str = "",
    query: Mapping[str, str] | None = None,
) -> str:
    """Path and query; Invalid for a name that no object can have and that would lead to another URL."""
    for segment in (namespace or "", name):
        if segment in {".", ".."} or not SEGMENT.fullmatch(segment):
            raise Invalid(f"{segment!r} is no name of an object", status=400, reason="BadRequest")
    path = resource.path(namespace, name or None, subresource)
    return f"{path}?{urllib.parse.urlencode(query, errors='replace')}" if query else path


def headers_of(request: Request, authorization: str) -> dict[str, str]:
    headers = {"Authorization": authorization} if authorization else {}
    if request.content_type:
        headers["Content-Type"] = request.content_type
    return headers


async def refusal_of(request: Request, response: aiohttp.ClientResponse) -> ApiError:
    """The error that an answer means; reads of its body what an explanation needs."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ERROR_BODY_LIMIT:
            break
    return error_of(request.title, response.status, response.headers, bytes(body), time.time())


async def read_body(request: Request, response: aiohttp.ClientResponse) -> bytes:
    """The whole body, which a server cannot make larger than BODY_LIMIT."""
    length = response.content_length
    if length is not None and length <= BODY_LIMIT and "Content-Encoding" not in response.headers:
        return await response.read()
    parts = []
    size = 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > BODY_LIMIT:
            raise Unreachable(f"{request.title}: the answer is larger than {BODY_LIMIT} bytes")
    return b"".join(parts)


def unreachable(request: Request, error: Exception) -> Unreachable:
    """What went wrong below HTTP, in words; aiohttp's own texts hold addresses of objects and headers."""
    reason = ""
    if isinstance(error, aiohttp.ClientSSLError):
        reason = TLS_PROBLEM
        cause = getattr(error, "certificate_error", None) or error.os_error
        text = f"TLS with {error.host}:{error.port}: {getattr(cause, 'verify_message', '') or cause}"
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        text = f"cannot connect to the proxy: {error.os_error.strerror or error.os_error}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        text = f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        text = f"the proxy answered {error.status} {error.message}"
    elif isinstance(error, TimeoutError):
        text = "no answer in time"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        text = "the server closed the connection"
    elif isinstance(error, aiohttp.ClientPayloadError):
        text = "cut before the end of the answer"
    else:
        text = f"{type(error).__name__} {error}"
    return Unreachable(f"{request.title}: {one_line(text, FOREIGN_LIMIT)}", reason=reason)
