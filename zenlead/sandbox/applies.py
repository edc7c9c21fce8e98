"""Server-side apply, as far as ``kubectl apply --server-side`` needs it.

Knows what each field manager applied last. Refuses to know managedFields, which the sandbox leaves out of its
objects. The rule: a manager that stops naming a field gives it up, and the field goes with its last owner.
Source: Kubernetes documentation, "Server-Side Apply".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zenlead.sandbox import refusals
from zenlead.sandbox.parsing import without_nulls
from zenlead.sandbox.refusals import Cause
from zenlead.sandbox.strategic import merge_key, strategic_merge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zenlead.sandbox.kinds import Kind
    from zenlead.sandbox.objects import Body, Objects, Occurrence

_Path = tuple[Any, ...]


class Applies:
    """Merges applied configurations and remembers them per object and manager."""

    def __init__(self, objects: Objects) -> None:
        self._applied: dict[str, dict[str, Body]] = {}  # by UID; dropped when the object is removed
        objects.subscribe(self._follow)

    def __repr__(self) -> str:
        return f"Applies(objects={len(self._applied)})"

    def merged(self, kind: Kind, body: Body, applied: Body, manager: str, *, force: bool) -> Body:
        """``body`` (which may be used up) with what ``manager`` applies. Raises Refusal (409)."""
        managers = self._applied.get(body["metadata"].get("uid", ""), {})
        wanted = dict(_leaves(kind, "", (), _config(applied)))
        others = {name: config for name, config in managers.items() if name != manager}
        conflicts = [
            Cause(_shown(path), "FieldManagerConflict", f'conflict with "{name}"')
            for name, config in others.items()
            for path, value in _leaves(kind, "", (), config)
            if path in wanted and wanted[path] != value
        ]
        if conflicts and not force:
            raise refusals.apply_conflict(conflicts)
        kept = {path for config in others.values() for path, _ in _leaves(kind, "", (), config)}
        for path, _ in _leaves(kind, "", (), managers.get(manager, {})):
            if path not in wanted and path not in kept:
                _drop(body, path)
        return strategic_merge(kind, body, _config(applied))

    def remember(self, kind: Kind, uid: str, applied: Body, manager: str) -> None:
        """Keep what was applied; other managers lose the fields that it took from them."""
        managers = self._applied.setdefault(uid, {})
        managers[manager] = _config(applied)
        wanted = dict(_leaves(kind, "", (), managers[manager]))
        for name, config in managers.items():
            for path, value in list(_leaves(kind, "", (), config)):
                if name != manager and path in wanted and wanted[path] != value:
                    _drop(config, path)

    def _follow(self, occurrence: Occurrence) -> None:
        if occurrence.after is None and occurrence.before is not None:
            self._applied.pop(occurrence.before.body["metadata"]["uid"], None)


def _config(applied: Body) -> Body:
    """What a manager has an opinion on: everything but identity."""
    config: Body = {
        name: value for name, value in without_nulls(applied).items() if name not in ("kind", "apiVersion")
    }
    identity = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields")
    config["metadata"] = {
        name: value for name, value in (config.get("metadata") or {}).items() if name not in identity
    }
    return config


def _leaves(kind: Kind, dotted: str, path: _Path, value: Any) -> Iterator[tuple[_Path, Any]]:
    """Every field with its value; entries of merged lists are addressed by ``(key, value)``."""
    if isinstance(value, dict) and value:
        for name, held in value.items():
            yield from _leaves(kind, f"{dotted}.{name}" if dotted else name, (*path, name), held)
    elif isinstance(value, list) and (key := merge_key(kind, dotted)):
        for entry in value:
            place = (*path, (key, entry.get(key)))
            for name, held in entry.items():
                yield from _leaves(kind, f"{dotted}.{name}", (*place, name), held)
    elif path:
        yield path, value


def _drop(body: Any, path: _Path) -> None:
    """Remove the field, and the entry of a merged list when its key field goes."""
    *way, last = path
    held, lists = body, None
    for step in way:
        if isinstance(step, tuple):
            lists, entries = (held, step), held if isinstance(held, list) else []
            held = next((one for one in entries if one.get(step[0]) == step[1]), None)
        else:
            held = held.get(step) if isinstance(held, dict) else None
    if not isinstance(held, dict):
        return
    if lists is not None and isinstance(way[-1], tuple) and last == way[-1][0]:
        lists[0].remove(held)
        return
    held.pop(last, None)


def _shown(path: _Path) -> str:
    parts = [f'[{step[0]}="{step[1]}"]' if isinstance(step, tuple) else f".{step}" for step in path]
    return "".join(parts)
