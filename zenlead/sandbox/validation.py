"""What every object must obey: names, labels, annotations, owners; and the words for broken rules.

Knows syntax. Refuses to know any one kind (see rules*.py). The rule: a check collects every cause it finds,
because the real server answers with all of them at once.
Source: Kubernetes concepts "Object names and IDs", "Labels and selectors"; API conventions, "Validation".
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.sandbox.refusals import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zenlead.sandbox.objects import Body

LABEL_MAX = 63  # characters of a DNS label, of a label value, and of the name part of a label key
SUBDOMAIN_MAX = 253  # characters of a DNS name
ANNOTATIONS_MAX_BYTES = 256 * 1024  # all annotations of one object together

_LABEL_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_STANDARD_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")
_IANA_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
IANA_NAME_MAX = 15  # characters of a port name on a container


def quoted(value: Any) -> str:
    """A value as messages show it: strings in quotes, everything else as JSON."""
    return msgspec.json.encode(value).decode()


def bad(field: str, value: Any, why: str) -> Cause:
    """The value is not valid."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {quoted(value)}: {why}")


def required(field: str, why: str = "") -> Cause:
    """The field must be there."""
    return Cause(field, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def duplicate(field: str, value: Any) -> Cause:
    """The value is taken by an earlier entry."""
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {quoted(value)}")


def unsupported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """The value is none of a closed set."""
    listed = ", ".join(quoted(one) for one in supported)
    return Cause(
        field, "FieldValueNotSupported", f"Unsupported value: {quoted(value)}: supported values: {listed}"
    )


def not_permitted(field: str, why: str) -> Cause:
    """The field may not be set (or not be changed) here."""
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")


def too_many(field: str, count: int, limit: int) -> Cause:
    """The list has too many entries."""
    return Cause(field, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} items")


def too_long(field: str, limit: int) -> Cause:
    """The text is too long."""
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def check_dns_label(field: str, value: str) -> list[Cause]:
    """A DNS label as RFC 1123 has it. (Servers before 1.36 or so want a letter first in Service names.)"""
    causes = []
    if len(value) > LABEL_MAX:
        causes.append(bad(field, value, f"must be no more than {LABEL_MAX} characters"))
    if not _LABEL_1123.fullmatch(value):
        causes.append(bad(field, value, "not an RFC 1123 label: lower case letters, digits and '-' only"))
    return causes


def check_subdomain(field: str, value: str) -> list[Cause]:
    """A DNS name, as most object names are."""
    if len(value) > SUBDOMAIN_MAX:
        return [bad(field, value, f"must be no more than {SUBDOMAIN_MAX} characters")]
    if not _SUBDOMAIN.fullmatch(value):
        return [bad(field, value, "not an RFC 1123 subdomain: lower case letters, digits, '-' and '.' only")]
    return []


def check_ip(field: str, value: str) -> list[Cause]:
    """An IP address of either family."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [bad(field, value, "must be a valid IP address")]
    return []


def check_port_name(field: str, value: str) -> list[Cause]:
    """A container port's name: IANA service name with at least one letter."""
    valid = _IANA_NAME.fullmatch(value) and "--" not in value and any(char.isalpha() for char in value)
    if len(value) > IANA_NAME_MAX or not valid:
        return [bad(field, value, f"not an IANA service name of at most {IANA_NAME_MAX} characters")]
    return []


def check_port(field: str, value: Any) -> list[Cause]:
    """A port number, 1 to 65535."""
    if not isinstance(value, int) or not 1 <= value <= 65535:
        return [bad(field, value, "must be between 1 and 65535, inclusive")]
    return []


def check_qualified_name(field: str, value: str) -> list[Cause]:
    """``[prefix/]name``, as label and annotation keys, appProtocol and reporting controllers are."""
    prefix, slash, name = value.rpartition("/")
    if slash and check_subdomain(field, prefix):
        return [bad(field, value, "the prefix part is not an RFC 1123 subdomain")]
    if not name or len(name) > LABEL_MAX or not _QUALIFIED_NAME.fullmatch(name):
        return [bad(field, value, f"the name part is not 1 to {LABEL_MAX} letters, digits, '-', '_' or '.'")]
    return []


def check_labels(field: str, labels: Mapping[str, str]) -> list[Cause]:
    """Labels, or a selector made of labels."""
    causes: list[Cause] = []
    for key, value in labels.items():
        causes += check_qualified_name(field, key)
        if len(value) > LABEL_MAX or not _LABEL_VALUE.fullmatch(value):
            causes.append(bad(field, value, f"a label value has at most {LABEL_MAX} letters, digits and -_."))
    return causes


def check_meta(body: Body) -> list[Cause]:
    """Labels, annotations, owners and finalizers of any object (its name is checked by its kind)."""
    meta = body["metadata"]
    causes = check_labels("metadata.labels", meta.get("labels") or {})
    annotations: Mapping[str, str] = meta.get("annotations") or {}
    for key in annotations:
        causes += check_qualified_name("metadata.annotations", key.lower())
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_MAX_BYTES:
        causes.append(too_long("metadata.annotations", ANNOTATIONS_MAX_BYTES))
    for at, owner in enumerate(meta.get("ownerReferences") or ()):
        causes += _check_owner(f"metadata.ownerReferences[{at}]", owner)
    controllers = [owner for owner in meta.get("ownerReferences") or () if owner.get("controller")]
    if len(controllers) > 1:
        causes.append(
            bad("metadata.ownerReferences", len(controllers), "only one reference can have controller true")
        )
    for finalizer in meta.get("finalizers") or ():
        if finalizer not in _STANDARD_FINALIZERS:
            causes += _check_finalizer("metadata.finalizers", finalizer)
    return causes


def _check_finalizer(field: str, value: str) -> list[Cause]:
    if "/" not in value:
        return [bad(field, value, "name is neither a standard finalizer name nor is it fully qualified")]
    return check_qualified_name(field, value)


def _check_owner(field: str, owner: Mapping[str, Any]) -> list[Cause]:
    return [
        required(f"{field}.{name}", "must not be empty")
        for name in ("apiVersion", "kind", "name", "uid")
        if not owner.get(name)
    ]


def check_immutable(field: str, new: Any, old: Any) -> list[Cause]:
    """A field that stays as it was created."""
    return [] if new == old else [bad(field, new, "field is immutable")]
