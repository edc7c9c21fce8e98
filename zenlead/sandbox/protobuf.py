"""Reads the few bodies that kubectl sends as protobuf, whatever the server says it prefers.

Knows the envelope and the fields of those kinds. Refuses to know everything else, which is answered with 415.
The rule: what is not understood is never guessed.
Source: Kubernetes API concepts, "Kubernetes Protobuf encoding"; the ``generated.proto`` files of the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zenlead.sandbox import refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zenlead.sandbox.objects import Body

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field number -> name and what it holds: text, number, map of texts, or the fields of a message.
_Fields = dict[int, tuple[str, Any]]

_META: _Fields = {
    1: ("name", "text"),
    2: ("generateName", "text"),
    3: ("namespace", "text"),
    11: ("labels", "map"),
    12: ("annotations", "map"),
}
_ATTRIBUTES: _Fields = {
    1: ("namespace", "text"),
    2: ("verb", "text"),
    3: ("group", "text"),
    4: ("version", "text"),
    5: ("resource", "text"),
    6: ("subresource", "text"),
    7: ("name", "text"),
}
_REVIEW: _Fields = {
    1: ("resourceAttributes", _ATTRIBUTES),
    2: ("nonResourceAttributes", {1: ("path", "text"), 2: ("verb", "text")}),
}
_KINDS: dict[str, _Fields] = {
    "Namespace": {1: ("metadata", _META)},
    "ConfigMap": {1: ("metadata", _META), 2: ("data", "map")},
    "SelfSubjectAccessReview": {1: ("metadata", _META), 2: ("spec", _REVIEW)},
    "Eviction": {1: ("metadata", _META), 2: ("deleteOptions", {1: ("gracePeriodSeconds", "number")})},
}
_ENVELOPE: _Fields = {
    1: ("typeMeta", {1: ("apiVersion", "text"), 2: ("kind", "text")}),
    2: ("raw", "bytes"),
}


def is_protobuf(body: bytes) -> bool:
    """Whether the body is in the envelope of Kubernetes protobuf."""
    return body.startswith(_MAGIC)


def decode(body: bytes) -> Body:
    """The object in the envelope. Raises Refusal: 415 for other kinds, 400 when it cannot be read."""
    try:
        envelope = _message(body.removeprefix(_MAGIC), _ENVELOPE)
        named = envelope.get("typeMeta", {})
        fields = _KINDS.get(named.get("kind", ""), {})
        message = _message(envelope.get("raw", b""), fields)
    except (IndexError, ValueError) as error:
        raise refusals.bad_request(f"the body is no Kubernetes protobuf: {error}") from error
    if not fields:
        raise refusals.unsupported_media(MEDIA_TYPE, ("application/json",))
    return {**named, **message}


def _message(text: bytes, fields: _Fields) -> Body:
    message: Body = {}
    for number, value in _entries(text):
        if number not in fields:
            continue
        name, holds = fields[number]
        if holds == "number" and isinstance(value, int):
            message[name] = value
        elif isinstance(value, bytes):
            _put(message, name, holds, value)
    return message


def _put(message: Body, name: str, holds: Any, value: bytes) -> None:
    if holds == "bytes":
        message[name] = value
    elif holds == "map":
        entry = _message(value, {1: ("key", "text"), 2: ("value", "text")})
        message.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
    elif holds == "text":
        # An empty text is what a client that has nothing to say sends.
        if value:
            message[name] = value.decode()
    else:
        message[name] = _message(value, holds)


def _entries(text: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(text):
        tag, at = _varint(text, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(text, at)
            yield number, value
        elif wire == _BYTES:
            size, at = _varint(text, at)
            if at + size > len(text):
                raise ValueError("truncated")
            yield number, text[at : at + size]
            at += size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(text: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = text[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
