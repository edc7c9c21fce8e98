"""Which labels and annotations of an object its maker copied onto it, as the object's managedFields tell.

Knows the notation of managedFields. Refuses to know what should be there instead.
Rule: what anybody else has set, or set to another value, is nobody's copy: it was put there on purpose.
Source: Kubernetes API reference, ObjectMeta.managedFields and FieldsV1 ("f:<key>", "." for the map itself).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from zenlead.lead import contract
from zenlead.lead.views import NO_COPIES, Copies

_Fields: TypeAlias = dict[str, msgspec.Raw]


class _Metadata(msgspec.Struct):
    labels: _Fields | None = msgspec.field(default=None, name="f:labels")
    annotations: _Fields | None = msgspec.field(default=None, name="f:annotations")


class _Set(msgspec.Struct):
    metadata: _Metadata | None = msgspec.field(default=None, name="f:metadata")


class _Entry(msgspec.Struct, rename="camel"):
    fields_v1: _Set | None = None


def copies(managed_fields: bytes) -> Copies:
    """What the writer of the label ``zen-lead.io/source-service`` has set alone, from the JSON of
    managedFields. Nothing where they say nothing: backup tools and some clients drop them."""
    try:
        entries = msgspec.json.decode(managed_fields or b"[]", type=list[_Entry] | None)
    except (ValueError, RecursionError):  # no reason not to serve the Service
        return NO_COPIES
    sets = [e.fields_v1.metadata for e in entries or () if e.fields_v1 and e.fields_v1.metadata]
    makers = [s for s in sets if f"f:{contract.SOURCE_SERVICE}" in (s.labels or ())]
    others = [s for s in sets if s not in makers]
    return Copies(
        labels=_alone([s.labels for s in makers], [s.labels for s in others]),
        annotations=_alone([s.annotations for s in makers], [s.annotations for s in others]),
    )


def _alone(makers: list[_Fields | None], others: list[_Fields | None]) -> tuple[str, ...]:
    made = {key for fields in makers for key in fields or ()}
    shared = {key for fields in others for key in fields or ()}
    return tuple(sorted(key.removeprefix("f:") for key in made - shared if key.startswith("f:")))
