"""JSON merge patch and JSON patch, and the choice among the patch formats.

Knows RFC 7386 and RFC 6902. Refuses to know kinds (strategic.py does) and storage. The rule: a patch works on
a body of its own and leaves what it was given unchanged when it fails.
Source: RFC 7386, RFC 6902; Kubernetes API concepts, "Patch".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.sandbox import refusals
from zenlead.sandbox.strategic import strategic_merge

if TYPE_CHECKING:
    from zenlead.sandbox.kinds import Kind
    from zenlead.sandbox.objects import Body

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
FORMATS = (JSON, MERGE, STRATEGIC, APPLY)


def patched(kind: Kind, body: Body, patch: bytes, media_type: str) -> Body:
    """``body`` (which may be used up) after the patch. Raises Refusal 400, 415 or 422."""
    if media_type == MERGE:
        merged: Body = merge(body, decode_object(patch))
        return merged
    if media_type == STRATEGIC:
        return strategic_merge(kind, body, decode_object(patch))
    if media_type == JSON:
        return json_patch(body, patch)
    raise refusals.unsupported_media(media_type, FORMATS)


def decode_object(text: bytes) -> Body:
    """A JSON object. Raises Refusal (400)."""
    try:
        body: Body = msgspec.json.decode(text, type=dict)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise refusals.bad_request(f"error decoding the body: {error}") from error
    return body


def decode_yaml(text: bytes) -> Body:
    """A YAML (or JSON) object. Raises Refusal (400)."""
    try:
        body: Body = msgspec.yaml.decode(text, type=dict)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise refusals.bad_request(f"error decoding YAML: {error}") from error
    return body


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


class _Operation(msgspec.Struct):
    op: str
    path: str
    value: Any = msgspec.UNSET
    from_: str = msgspec.field(default="", name="from")


def json_patch(body: Body, patch: bytes) -> Body:
    """RFC 6902: every operation in order. Raises Refusal (400 unreadable, 422 not applicable)."""
    try:
        operations = msgspec.json.decode(patch, type=list[_Operation])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise refusals.bad_request(f"error decoding patch: {error}") from error
    document: Any = body
    for operation in operations:
        try:
            document = _apply(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            why = f"the server rejected our request due to an error in our request: {operation.path}: {error}"
            raise refusals.Refusal(422, "Invalid", why) from error
    if not isinstance(document, dict):
        raise refusals.bad_request("a patch must leave an object")
    return document


def _apply(document: Any, operation: _Operation) -> Any:
    path = _steps(operation.path)
    match operation.op:
        case "add":
            return _add(document, path, operation.value)
        case "remove":
            _remove(document, path)
        case "replace":
            _at(document, path)
            if path and isinstance(holder := _at(document, path[:-1]), list):
                holder[int(path[-1])] = operation.value
                return document
            return _add(document, path, operation.value)
        case "move":
            value = _at(document, _steps(operation.from_))
            _remove(document, _steps(operation.from_))
            return _add(document, path, value)
        case "copy":
            value = _at(document, _steps(operation.from_))
            return _add(document, path, msgspec.json.decode(msgspec.json.encode(value)))
        case "test":
            if _at(document, path) != operation.value:
                raise ValueError("testing value failed")
        case other:
            raise ValueError(f"unexpected operation {other!r}")
    return document


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError("a path starts with '/'")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _at(document: Any, steps: list[str]) -> Any:
    for step in steps:
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def _add(document: Any, steps: list[str], value: Any) -> Any:
    if value is msgspec.UNSET:
        raise ValueError("missing value")
    if not steps:
        return value
    holder, last = _at(document, steps[:-1]), steps[-1]
    if isinstance(holder, list):
        at = len(holder) if last == "-" else int(last)
        if at > len(holder):
            raise IndexError("index out of bounds")
        holder.insert(at, value)
    else:
        holder[last] = value
    return document


def _remove(document: Any, steps: list[str]) -> None:
    holder, last = _at(document, steps[:-1]), steps[-1]
    if isinstance(holder, list):
        holder.pop(int(last))
    else:
        del holder[last]
