"""Services in a namespace that is being deleted, as a create that was refused has said.

Knows that such a namespace never comes back, and that one made anew under its name has other Services.
Refuses to ask for namespaces: that needs rights that nothing else needs. Rule: nothing is made or told for
them any more; what exists is still kept right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.controller.apply import NAMESPACE_TERMINATING
from zenlead.lead.writes import Create

if TYPE_CHECKING:
    from zenlead.kube.errors import Forbidden
    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import Key
    from zenlead.lead.writes import Write


class Endings:
    """Remembers the UIDs of sources; each goes with its Service."""

    def __init__(self) -> None:
        self._uids: dict[Key, str] = {}

    def __repr__(self) -> str:
        return f"Endings({len(self._uids)} Services)"

    def __contains__(self, seen: Snapshot) -> bool:
        return seen.source is not None and self._uids.get((seen.namespace, seen.name)) == seen.source.uid

    def hear(self, seen: Snapshot, refusal: Forbidden) -> None:
        """A write was refused; maybe because the namespace ends."""
        if NAMESPACE_TERMINATING in refusal.causes and seen.source is not None:
            self._uids[seen.namespace, seen.name] = seen.source.uid

    def possible(self, seen: Snapshot, pending: list[Write]) -> list[Write]:
        """Those writes that can succeed."""
        return [w for w in pending if not isinstance(w, Create)] if seen in self else pending

    def forget(self, key: Key) -> None:
        self._uids.pop(key, None)

    def forget_all(self) -> None:
        self._uids.clear()
