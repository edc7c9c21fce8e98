"""Who answered when: the request stream, gathered into columns of equal time.

Knows answers, failures and how long they took. Refuses to know clocks and screens: time is an argument. The
rule: memory is bounded however long the demo runs.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMN_S = 0.2  # ten requests: enough for a column to have somebody in it, short enough to see a failover
COLUMNS = 400  # kept; wider screens than that are rare
LATENCIES = 20_000  # kept for the percentiles: the last minutes


class Column(msgspec.Struct):
    """The requests that ended in one span of COLUMN_S seconds. ``at`` counts the spans."""

    at: int
    answered: Counter[str]
    failed: int = 0
    slowest_s: float = 0.0


class Timeline:
    """``answered`` and ``failed`` as requests end; ``columns`` for the last of them."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered_count = 0
        self.failed_count = 0
        self.longest_gap_s = 0.0
        self.latencies_s: deque[float] = deque(maxlen=LATENCIES)
        self._columns: deque[Column] = deque(maxlen=COLUMNS)
        self._answered_at: float | None = None  # None: nobody has answered since the stream began or rested

    def __repr__(self) -> str:
        return f"Timeline(sent={self.sent}, answered={self.answered_count}, failed={self.failed_count})"

    def answered(self, sent_at: float, now: float, pod: str) -> None:
        """A pod has answered at ``now`` what was sent at ``sent_at``; both are loop times in seconds."""
        column = self._column(now)
        column.answered[pod] += 1
        column.slowest_s = max(column.slowest_s, now - sent_at)
        self.answered_count += 1
        self.latencies_s.append(now - sent_at)
        if self._answered_at is not None:
            self.longest_gap_s = max(self.longest_gap_s, now - self._answered_at)
        self._answered_at = now

    def failed(self, now: float) -> None:
        """A request came to nothing."""
        self._column(now).failed += 1
        self.failed_count += 1

    def rest(self) -> None:
        """There is nobody to ask, and rightly so: the silence is no gap."""
        self._answered_at = None

    def columns(self, now: float, count: int) -> list[Column | None]:
        """The last ``count`` columns, the one that is still filling being the last; None is silence."""
        last = int(now / COLUMN_S)
        held = {column.at: column for column in self._columns}
        return [held.get(at) for at in range(last - count + 1, last + 1)]

    def _column(self, now: float) -> Column:
        at = int(now / COLUMN_S)
        if not self._columns or self._columns[-1].at != at:
            self._columns.append(Column(at, Counter()))
        return self._columns[-1]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed (nearest rank); 0.0 of none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
