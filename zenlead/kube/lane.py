"""The two lanes of work and of writes: what cannot wait, and the rest.

Knows an order and two names. Refuses to know what makes work urgent; the caller says so.
"""

from __future__ import annotations

import enum


class Lane(enum.IntEnum):
    """Smaller is more urgent, so that ``min`` picks the lane that wins."""

    URGENT = 0
    ROUTINE = 1

    @property
    def label(self) -> str:
        """The name in facts and metrics: ``urgent``, ``routine``."""
        return self.name.lower()
