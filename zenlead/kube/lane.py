"""The lanes of work: what cannot wait, what is new, and the rest. Writes know the first and the last.

Knows an order and the names. Refuses to know what makes work urgent; the caller says so.
"""

from __future__ import annotations

import enum


class Lane(enum.IntEnum):
    """Smaller is more urgent, so that ``min`` picks the lane that wins."""

    URGENT = 0
    FRESH = 1  # nobody relies on it yet, but somebody waits for it
    ROUTINE = 2

    @property
    def label(self) -> str:
        """The name in facts and metrics: ``urgent``, ``fresh``, ``routine``."""
        return self.name.lower()
