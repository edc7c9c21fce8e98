"""Strategic merge patch for the kinds of the sandbox.

Knows by which key the lists of each kind are merged, and the patch directives. Refuses to know storage. The
rule: a list without a merge key is replaced whole.
Source: Kubernetes documentation, "Update API objects in place using kubectl patch"; patch merge keys are in
the API reference of each kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zenlead.kube.resources import NODES, PODS, SERVICES, Resource
from zenlead.sandbox import refusals
from zenlead.sandbox.kinds import NAMESPACES, Kind

if TYPE_CHECKING:
    from zenlead.sandbox.objects import Body

_POD_LISTS = {
    "spec.volumes": "name",
    "spec.imagePullSecrets": "name",
    "spec.hostAliases": "ip",
    "spec.topologySpreadConstraints": "topologyKey",
    "status.conditions": "type",
    "status.podIPs": "ip",
    "status.hostIPs": "ip",
}
for _group in ("containers", "initContainers"):
    _POD_LISTS |= {
        f"spec.{_group}": "name",
        f"spec.{_group}.ports": "containerPort",
        f"spec.{_group}.env": "name",
        f"spec.{_group}.volumeMounts": "mountPath",
    }
_KEYS: dict[Resource, dict[str, str]] = {
    PODS: _POD_LISTS,
    SERVICES: {"spec.ports": "port", "status.conditions": "type"},
    NODES: {"status.conditions": "type", "status.addresses": "type"},
    NAMESPACES: {"status.conditions": "type"},
}
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def merge_key(kind: Kind, path: str) -> str:
    """By which field the entries of the list at ``path`` are told apart; empty: the list is replaced."""
    if path == "metadata.ownerReferences":
        return "uid"
    return _KEYS.get(kind.resource, {}).get(path, "")


def strategic_merge(kind: Kind, body: Body, patch: Body) -> Body:
    """``body`` (which may be used up) after the patch. Raises Refusal (400)."""
    return _merge_object(kind, "", body, patch)


def _merge_object(kind: Kind, path: str, held: Body, patch: Body) -> Body:
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    if directive == "delete":
        return {}
    merged = dict(held)
    if (retained := patch.get("$retainKeys")) is not None:
        retained = _listed(retained)
        merged = {name: value for name, value in merged.items() if name in retained}
    for name, value in patch.items():
        if name.startswith(_DELETE_PRIMITIVES):
            field = name.removeprefix(_DELETE_PRIMITIVES)
            removed = _listed(value)
            merged[field] = [one for one in merged.get(field) or () if one not in removed]
        elif not name.startswith("$"):
            _merge_field(kind, f"{path}.{name}" if path else name, merged, name, value)
    for name, order in patch.items():
        if name.startswith(_ORDER):
            field = name.removeprefix(_ORDER)
            _reorder(merged, field, _listed(order), merge_key(kind, f"{path}.{field}" if path else field))
    return merged


def _merge_field(kind: Kind, path: str, merged: Body, name: str, value: Any) -> None:
    if value is None:
        merged.pop(name, None)
    elif isinstance(value, dict):
        held = merged.get(name)
        merged[name] = _merge_object(kind, path, held if isinstance(held, dict) else {}, value)
    elif isinstance(value, list) and path == "metadata.finalizers":
        held_list = merged.get(name) or []
        merged[name] = [*held_list, *(one for one in value if one not in held_list)]
    elif isinstance(value, list) and (key := merge_key(kind, path)):
        merged[name] = _merge_list(kind, path, merged.get(name) or [], value, key)
    else:
        merged[name] = value


def _merge_list(kind: Kind, path: str, held: list[Body], patch: list[Body], key: str) -> list[Body]:
    if any(entry == {"$patch": "replace"} for entry in patch):
        return [entry for entry in patch if entry != {"$patch": "replace"}]
    result = list(held)
    for entry in patch:
        if not isinstance(entry, dict) or key not in entry:
            raise refusals.bad_request(f"map: {entry} does not contain declared merge key: {key}")
        at = next((at for at, one in enumerate(result) if one.get(key) == entry[key]), None)
        if entry.get("$patch") == "delete":
            result = [one for one in result if one.get(key) != entry[key]]
        elif at is None:
            result.append(_merge_object(kind, path, {}, entry))
        else:
            result[at] = _merge_object(kind, path, result[at], entry)
    return result


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise refusals.bad_request("a directive of a strategic merge patch must hold a list")
    return value


def _reorder(merged: Body, field: str, order: list[Any], key: str) -> None:
    """Entries in the order that the client wants; those it does not name keep their place after them."""
    entries = merged.get(field)
    if not isinstance(entries, list):
        return
    wanted = [one.get(key) if key and isinstance(one, dict) else one for one in order]

    def place(entry: Any) -> int:
        name = entry.get(key) if key and isinstance(entry, dict) else entry
        return wanted.index(name) if name in wanted else len(wanted)

    merged[field] = sorted(entries, key=place)
