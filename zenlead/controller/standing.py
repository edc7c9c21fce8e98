"""Which warnings stand for each Service, so that one that went away and came back is told again.

Knows under which name each was told. Refuses to know what they say, and to write. Rule: what stands keeps its
name, across restarts too (a restart finds it told); only what was seen to go gets another when it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zenlead.controller.announce import Announcement
    from zenlead.lead.views import Key

# Warnings that went, remembered for each Service: some 100 bytes each, and nobody mistypes so many at a time.
GONE_LIMIT = 32


class _Warnings(msgspec.Struct):
    """Of one Service: ``stands`` by ``dedup`` to the name that it was told under; ``gone``, oldest first."""

    stands: dict[str, str] = msgspec.field(default_factory=dict)
    gone: dict[str, None] = msgspec.field(default_factory=dict)


class Standing:
    """Asked by one pass at a time for each Service."""

    def __init__(self) -> None:
        self._services: dict[Key, _Warnings] = {}

    def __repr__(self) -> str:
        return f"Standing({len(self._services)} Services)"

    def __len__(self) -> int:
        return len(self._services)

    def named(self, key: Key, said: Sequence[Announcement], now: float) -> list[Announcement]:
        """What is ``said`` of a Service as things are, each with the name of its occurrence as ``dedup``.
        ``now`` in Unix seconds is what makes a new occurrence another one."""
        recurring = {one.dedup for one in said if one.recurs}
        if not recurring and key not in self._services:
            return list(said)
        known = self._services.setdefault(key, _Warnings())
        for dedup in known.stands.keys() - recurring:
            del known.stands[dedup]
            known.gone[dedup] = None
        for dedup in recurring - known.stands.keys():
            again = dedup in known.gone
            known.gone.pop(dedup, None)
            known.stands[dedup] = f"{dedup}@{now:.6f}" if again else dedup
        while len(known.gone) > GONE_LIMIT:
            del known.gone[next(iter(known.gone))]
        return [
            msgspec.structs.replace(one, dedup=known.stands[one.dedup]) if one.recurs else one for one in said
        ]

    def forget(self, key: Key) -> None:
        """The Service is out, or gone."""
        self._services.pop(key, None)

    def forget_all(self) -> None:
        """Another replica tells them now."""
        self._services.clear()
