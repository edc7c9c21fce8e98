"""LIST: which objects, of which revision, in which pages.

Knows limit, continue, resourceVersion and resourceVersionMatch. Refuses to know watches. The rule: all pages
of one list show the same revision, or the client is told that they no longer can.
Source: Kubernetes API concepts, "Retrieving large results sets in chunks" and "Semantics for get and list".
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from zenlead.sandbox import refusals
from zenlead.sandbox.objects import Compacted, Key, Objects, Stored
from zenlead.sandbox.refusals import Cause
from zenlead.sandbox.selectors import matcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zenlead.sandbox.kinds import Kind


class Page(msgspec.Struct, frozen=True):
    """One page: its objects, the revision of the whole list and how to go on."""

    items: list[Stored]
    revision: int
    token: str = ""
    remaining: int | None = None


class _Token(msgspec.Struct, frozen=True):
    """What ``continue`` carries. ``revision`` -1: whatever is current (after an expired list)."""

    revision: int
    after: tuple[str, str]


def revision_of(query: Mapping[str, str]) -> int | None:
    """The ``resourceVersion`` of a query, or None if it has none. Raises Refusal (400)."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not text.isdigit():
        raise refusals.bad_request(f'Invalid value: "{text}": strconv.ParseUint: invalid syntax')
    return int(text)


def options_refused(field: str, why: str) -> refusals.Refusal:
    """422 about the options of a list or watch."""
    cause = Cause(field, "FieldValueForbidden", f"Forbidden: {why}")
    message = f'ListOptions.meta.k8s.io "" is invalid: {field}: {cause.message}'
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [msgspec.to_builtins(cause)]}
    return refusals.Refusal(422, "Invalid", message, details=details)


def page(objects: Objects, kind: Kind, namespace: str, query: Mapping[str, str]) -> Page:
    """One page of a list. Raises Refusal 400, 410, 422 or 504."""
    matches = matcher(kind, query)
    revision, found, after = _snapshot(objects, kind, namespace, query)
    rows = [(key, stored) for key, stored in found if matches is None or matches(stored.body)]
    if after is not None:
        rows = [(key, stored) for key, stored in rows if key[1:] > after]
    limit = _limit(query)
    if not limit or len(rows) <= limit:
        return Page([stored for _, stored in rows], revision)
    kept, last = rows[:limit], rows[limit - 1][0]
    token = _encode(_Token(revision, (last[1], last[2])))
    remaining = len(rows) - limit if matches is None else None
    return Page([stored for _, stored in kept], revision, token, remaining)


def _snapshot(
    objects: Objects, kind: Kind, namespace: str, query: Mapping[str, str]
) -> tuple[int, list[tuple[Key, Stored]], tuple[str, str] | None]:
    revision, match, token = revision_of(query), query.get("resourceVersionMatch"), query.get("continue")
    if match and revision is None:
        raise options_refused("resourceVersionMatch", "may not be set without resourceVersion")
    if match and token:
        raise options_refused("resourceVersionMatch", "may not be set together with continue")
    if match not in (None, "", "Exact", "NotOlderThan"):
        raise options_refused("resourceVersionMatch", "must be Exact or NotOlderThan")
    if token:
        if revision:
            raise refusals.bad_request("specifying resource version is not allowed when using continue")
        return _resumed(objects, kind, namespace, _decode(token))
    if revision and revision > objects.revision:
        raise refusals.from_the_future(revision, objects.revision)
    if match == "Exact" and revision is not None:
        try:
            return revision, objects.find_at(kind.storage, namespace, revision), None
        except Compacted as error:
            raise refusals.expired_list() from error
    return objects.revision, objects.find(kind.storage, namespace), None


def _resumed(
    objects: Objects, kind: Kind, namespace: str, token: _Token
) -> tuple[int, list[tuple[Key, Stored]], tuple[str, str] | None]:
    if token.revision < 0:
        return objects.revision, objects.find(kind.storage, namespace), token.after
    try:
        return token.revision, objects.find_at(kind.storage, namespace, token.revision), token.after
    except Compacted as error:
        raise refusals.expired_list(_encode(_Token(-1, token.after))) from error


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", "") or "0"
    if not text.isdigit():
        raise refusals.bad_request(f'Invalid value: "{text}": limit must be a non-negative number')
    # A list from the cache (version 0) comes whole, whatever the limit.
    return 0 if query.get("resourceVersion") == "0" else int(text)


def _encode(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def _decode(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text.encode()), type=_Token)
    except (binascii.Error, msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise refusals.bad_request("continue key is not valid") from error
