"""Since when Services wait: for any pass, and for the write that takes traffic away from a hurt leader.

Knows times and keys. Refuses to know the queue. The rule not to break: a failover's time begins with the
event that hurt, not with a routine ask before it, and not with the last of several tries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from zenlead.kube.lane import Lane

if TYPE_CHECKING:
    from zenlead.lead.views import Key


class Since(NamedTuple):
    """``asked_at``: the first ask since the last pass. ``hurt_at``: the first urgent one since the last pass
    that came through, None if there was none. Loop times."""

    asked_at: float
    hurt_at: float | None

    @property
    def seen_at(self) -> float:
        """When the change was seen that this pass is about."""
        return self.asked_at if self.hurt_at is None else self.hurt_at


class Asked:
    """What was asked and not yet taken. Both tables are emptied by ``take`` and ``forget``."""

    def __init__(self) -> None:
        self._asked: dict[Key, float] = {}
        self._hurt: dict[Key, float] = {}

    def __repr__(self) -> str:
        return f"Asked({len(self._asked)}, hurt={len(self._hurt)})"

    def __len__(self) -> int:
        return len(self._asked.keys() | self._hurt.keys())

    def ask(self, key: Key, lane: Lane, now: float) -> None:
        """Somebody wants a pass."""
        self._asked.setdefault(key, now)
        if lane is Lane.URGENT:
            self._hurt.setdefault(key, now)

    def take(self, key: Key, now: float) -> Since:
        """A pass begins; who was not asked for (a wake-up, a retry) waits since ``now``."""
        return Since(self._asked.pop(key, now), self._hurt.pop(key, None))

    def again(self, key: Key, since: Since) -> None:
        """The pass did not come through, and another will be made."""
        if since.hurt_at is not None:
            self._hurt[key] = since.hurt_at

    def forget(self) -> None:
        """The Services are another replica's now."""
        self._asked.clear()
        self._hurt.clear()
