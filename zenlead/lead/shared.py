"""What many views have in common, held once.

Knows label sets, port lists and words. Refuses to know whose they are. Rule: bounded, and never wrong when
emptied.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from zenlead.lead.views import NO_LABELS, Labels

T = TypeVar("T", bound=Hashable)


class Shared:
    """One object per distinct label set, port list or word: the pods of one ReplicaSet share them, and so do
    most Services of a cluster.

    Bounded: at its limit the table is dropped whole. Views keep what they hold; sharing just starts anew.
    """

    LIMIT = 20_000  # distinct sets; StatefulSet pods have one each, some 300 bytes

    def __init__(self) -> None:
        self._labels: dict[tuple[tuple[str, str], ...], Labels] = {}
        self._values: dict[Hashable, Hashable] = {}

    def labels(self, labels: Labels | None) -> Labels:
        if not labels:
            return NO_LABELS
        key = tuple(labels.items())
        known = self._labels.get(key)
        if known is None:
            if len(self._labels) >= self.LIMIT:
                self._labels.clear()
            known = self._labels[key] = labels
        return known

    def one(self, value: T) -> T:
        """The value that is equal to this one and that others hold already."""
        if len(self._values) >= self.LIMIT:
            self._values.clear()
        return self._values.setdefault(value, value)  # type: ignore[return-value]  # equal, so of its type


SHARED = Shared()
