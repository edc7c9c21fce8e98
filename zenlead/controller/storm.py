"""When many leaders fall at once, or many Services are new, what is only decoration (or an Event) waits.

Knows when traffic was moved or given a way. Refuses to know of what. Rule: patience has an end; what waits
is late at most, never lost.
"""

from __future__ import annotations

from collections import deque

# So many failovers within a second are no everyday matter: a node went, or a zone.
STORM_SIZE = 16
STORM_SPAN_S = 1.0
PATIENCE_S = 20.0  # for one storm; a thousand new Services, the largest that was measured, take as long
STEP_S = 0.1  # how soon it is seen that a storm is over


class Storm:
    """Told of each urgent pass that wrote (``note``), says for how long the rest should wait. Times are loop
    seconds."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=STORM_SIZE)
        self._since: float | None = None

    def __repr__(self) -> str:
        return f"Storm(since={self._since})"

    def note(self, now: float) -> None:
        """A failover or a new leader Service was written."""
        self._last.append(now)
        if self._since is None and self._rages(now):
            self._since = now

    def calm_in_s(self, now: float) -> float:
        """Ask again after so many seconds; 0 when there is no storm, or when it has lasted for too long."""
        if self._since is None:
            return 0.0
        if not self._rages(now):
            self._since = None
            return 0.0
        return STEP_S if now - self._since < PATIENCE_S else 0.0

    def _rages(self, now: float) -> bool:
        return len(self._last) == STORM_SIZE and now - self._last[0] < STORM_SPAN_S
