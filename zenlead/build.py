"""Which build of zenlead this is, as the image says it.

Knows the variables that an image carries. Refuses to know who asks. The rule not to break: what nobody told
is unknown, and never guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMIT_VARIABLE = "ZEN_LEAD_COMMIT"
DATE_VARIABLE = "ZEN_LEAD_BUILD_DATE"
UNKNOWN = "unknown"


class Build(NamedTuple):
    """Where this copy of the program comes from: a commit, and when it was built (RFC 3339)."""

    commit: str
    date: str


def this_build(environ: Mapping[str, str]) -> Build:
    """What the image told; without an image both are unknown."""
    return Build(environ.get(COMMIT_VARIABLE) or UNKNOWN, environ.get(DATE_VARIABLE) or UNKNOWN)
