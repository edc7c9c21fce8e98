"""Server-side tables: what ``kubectl get`` asks for instead of objects.

Knows the Table object and how ages are written. Refuses to know which columns a kind has (columns.py). The
rule: a row carries the metadata of its object, so that clients can follow it.
Source: Kubernetes API concepts, "Receiving resources as Tables".
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.sandbox import views
from zenlead.sandbox.columns import COLUMNS, PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.sandbox.kinds import Kind
    from zenlead.sandbox.lists import Page
    from zenlead.sandbox.objects import Body, Stored

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


class Tables:
    """Turns objects into tables for one request. ``include`` is ``includeObject``: None, Metadata, Object."""

    def __init__(self, now: Callable[[], float], include: str) -> None:
        self._now = now
        self._include = include or "Metadata"

    def __repr__(self) -> str:
        return f"Tables(include={self._include})"

    def row(self, kind: Kind, stored: Stored) -> bytes:
        """A table of one row: what a watch event carries."""
        return msgspec.json.encode(self._table(kind, [stored], {"resourceVersion": str(stored.revision)}))

    def page(self, kind: Kind, found: Page) -> bytes:
        """A page of a list as a table."""
        meta: Body = {"resourceVersion": str(found.revision)}
        if found.token:
            meta["continue"] = found.token
        if found.remaining is not None:
            meta["remainingItemCount"] = found.remaining
        return msgspec.json.encode(self._table(kind, found.items, meta))

    def _table(self, kind: Kind, items: list[Stored], meta: Body) -> Body:
        columns = COLUMNS.get(kind.resource, PLAIN)
        definitions = [
            {
                "name": column.name,
                "type": column.type,
                "format": "name" if column.name == "Name" else "",
                "description": "",
                "priority": column.priority,
            }
            for column in columns.columns
        ]
        rows = [
            {"cells": columns.cells(stored.body, self._age), **self._object(kind, stored)} for stored in items
        ]
        return {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "columnDefinitions": definitions,
            "rows": rows,
        }

    def _object(self, kind: Kind, stored: Stored) -> Body:
        if self._include == "None":
            return {}
        if self._include == "Object":
            return {"object": views.shown(kind, stored.body)}
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        return {"object": {**partial, "metadata": stored.body["metadata"]}}

    def _age(self, text: Any) -> str:
        if not text:
            return "<unknown>"
        born = datetime.datetime.fromisoformat(str(text))
        return short_duration(self._now() - born.timestamp())


def short_duration(seconds: float) -> str:
    """An age as kubectl writes it: 42s, 5m3s, 3h20m, 2d4h, 40d."""
    whole = max(int(seconds), 0)
    if whole < 2 * MINUTE_S:
        return f"{whole}s"
    if whole < 10 * MINUTE_S:
        return _two(whole, MINUTE_S, "m", 1, "s")
    if whole < 3 * HOUR_S:
        return f"{whole // MINUTE_S}m"
    if whole < 8 * HOUR_S:
        return _two(whole, HOUR_S, "h", MINUTE_S, "m")
    if whole < 2 * DAY_S:
        return f"{whole // HOUR_S}h"
    if whole < 8 * DAY_S:
        return _two(whole, DAY_S, "d", HOUR_S, "h")
    return f"{whole // DAY_S}d"


def _two(seconds: int, large: int, large_sign: str, small: int, small_sign: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large}{large_sign}" + (f"{rest}{small_sign}" if rest else "")
