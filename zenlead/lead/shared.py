"""What many views have in common, held once.

Knows label sets and port lists. Refuses to know whose they are. Rule: bounded, and never wrong when emptied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.lead.views import NO_LABELS, Labels

if TYPE_CHECKING:
    from zenlead.lead.views import PortName


class Shared:
    """One object per distinct label set and port list: the pods of one ReplicaSet share them.

    Bounded: at its limit the table is dropped whole. Views keep what they hold; sharing just starts anew.
    """

    LIMIT = 20_000  # distinct sets; StatefulSet pods have one each, some 300 bytes

    def __init__(self) -> None:
        self._labels: dict[tuple[tuple[str, str], ...], Labels] = {}
        self._ports: dict[tuple[PortName, ...], tuple[PortName, ...]] = {}

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

    def ports(self, ports: tuple[PortName, ...]) -> tuple[PortName, ...]:
        if len(self._ports) >= self.LIMIT:
            self._ports.clear()
        return self._ports.setdefault(ports, ports)


SHARED = Shared()
