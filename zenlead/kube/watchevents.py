"""What the list/watch machine says: values, in the order in which they are to be taken.

Knows nothing but their shapes. Refuses to know what becomes of them. The rule: whatever is said of an object
comes with the version at which it was so.
"""

from __future__ import annotations

from typing import Generic, TypeAlias

import msgspec

from zenlead.kube.errors import ApiError  # noqa: TC001 - a field of a Struct
from zenlead.kube.store import Key, V


class Upsert(msgspec.Struct, Generic[V], frozen=True):
    """``version``: the resourceVersion as a number, here and below; 0 for what is none."""

    view: V
    version: int = 0


class Remove(msgspec.Struct, Generic[V], frozen=True):
    view: V
    version: int = 0


class Swap(msgspec.Struct, Generic[V], frozen=True):
    """A full list; it replaces all that was known, but for ``unreadable`` objects, which exist too."""

    views: list[V]
    unreadable: frozenset[Key] = frozenset()
    version: int = 0


class Rejected(msgspec.Struct, frozen=True):
    """An object that does not decode; whatever was known of it stays."""

    namespace: str
    name: str
    error: str


class Broken(msgspec.Struct, frozen=True):
    """The stream cannot go on: the last event of a ``feed``."""

    error: ApiError


Event: TypeAlias = Upsert[V] | Remove[V] | Swap[V] | Rejected | Broken
