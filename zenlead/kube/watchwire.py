"""What stands around objects in watches and lists, as far as the Cursor looks at it.

Knows events, pages and the least that every object has. Refuses to know what follows from any of it. The
rule: nothing in here is longer-lived than the bytes that it was decoded from.
Source: Kubernetes API reference, WatchEvent and ListMeta.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

W = TypeVar("W")


class Line(msgspec.Struct, Generic[W]):
    type: str
    object: W


class ListMeta(
    msgspec.Struct,
    rename={
        "resource_version": "resourceVersion",
        "token": "continue",
        "remaining": "remainingItemCount",
    },
):
    resource_version: str = ""
    token: str | None = None
    remaining: int | None = None  # not told where a selector is asked for


class Page(msgspec.Struct, Generic[W]):
    metadata: ListMeta
    items: list[W] | None = None


class AnyMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str | None = None
    resource_version: str = ""


class AnyObject(msgspec.Struct):
    metadata: AnyMeta


class Code(msgspec.Struct):
    code: int | None = None
