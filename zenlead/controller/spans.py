"""What the controller asks of whoever traces it: spans around the parts of a pass.

Knows the shape of a span. Refuses to know who collects them; ``untraced`` is for when nobody does. The rule
not to break: a span never fails, never waits, and hides no error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

Say: TypeAlias = Callable[[str, str], None]
"""Adds an attribute that is known only later, such as the result. ``error`` says that it failed, and why."""


class Span(Protocol):
    """Opens a span called ``name`` that began ``ago_s`` seconds ago, within the one that is open here."""

    def __call__(
        self, name: str, attributes: Mapping[str, str], ago_s: float = 0.0, /
    ) -> AbstractContextManager[Say]: ...


def untraced(name: str, attributes: Mapping[str, str], ago_s: float = 0.0, /) -> AbstractContextManager[Say]:
    """A span that nobody looks at."""
    del name, attributes, ago_s
    return _NOTHING


def _ignore(key: str, value: str) -> None:
    del key, value


_NOTHING = contextlib.nullcontext(_ignore)  # holds no state, so one serves all
