"""What the sandbox says of itself: version, groups, resources, and a small OpenAPI document.

Knows the catalogue of kinds.py and the shape of discovery documents. Refuses to know objects. The rule: what
is listed here works, and what works is listed.
Source: Kubernetes API concepts, "API discovery"; OpenAPI v3 publishing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zenlead.sandbox.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "any/any",
}
_ACTION_KINDS = {"binding": ("", "v1", "Binding"), "eviction": ("policy", "v1", "Eviction")}
# Query parameters of a PATCH: a client that finds them here leaves validation and dry runs to the server.
_PATCH_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")


def document(segments: tuple[str, ...], prefix: str) -> dict[str, Any] | None:
    """The discovery document at that path, or None. ``prefix``: where this client sees the server's root."""
    match segments:
        case ("version",):
            return dict(VERSION)
        case ("openapi", "v3"):
            return _openapi_index(prefix)
        case ("openapi", "v3", *rest):
            return _versioned(tuple(rest), _openapi)
        case ("api",):
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ("apis",):
            groups = [_group(group) for group in _groups() if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ("apis", group) if group in _groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        case _:
            return _versioned(segments, _resources)


def _versioned(
    segments: tuple[str, ...], describe: Callable[[str, str], dict[str, Any]]
) -> dict[str, Any] | None:
    """What is said of one version of a group, if it is served."""
    match segments:
        case ("api", version) if _kinds("", version):
            return describe("", version)
        case ("apis", group, version) if _kinds(group, version):
            return describe(group, version)
        case _:
            return None


def _groups() -> list[str]:
    return list(dict.fromkeys(kind.resource.group for kind in KINDS))


def _kinds(group: str, version: str) -> list[Kind]:
    return [kind for kind in KINDS if (kind.resource.group, kind.resource.version) == (group, version)]


def _group(group: str) -> dict[str, Any]:
    versions = dict.fromkeys(kind.resource.version for kind in KINDS if kind.resource.group == group)
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resources(group: str, version: str) -> dict[str, Any]:
    resources: list[dict[str, Any]] = []
    for kind in _kinds(group, version):
        resource = kind.resource
        entry: dict[str, Any] = {
            "name": resource.plural,
            "singularName": kind.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        resources.append(entry)
        resources += [_part(kind, part) for part in (*kind.subresources, *kind.actions)]
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _part(kind: Kind, part: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"{kind.resource.plural}/{part}",
        "singularName": "",
        "namespaced": kind.resource.namespaced,
        "kind": kind.resource.kind,
        "verbs": ["get", "patch", "update"],
    }
    if part in _ACTION_KINDS:
        group, version, name = _ACTION_KINDS[part]
        entry |= {"kind": name, "group": group, "version": version, "verbs": ["create"]}
    return entry


def _openapi_index(prefix: str) -> dict[str, Any]:
    versions = dict.fromkeys((kind.resource.group, kind.resource.version) for kind in KINDS)
    paths = [f"apis/{group}/{version}" if group else f"api/{version}" for group, version in versions]
    # The hash names the text of a document to clients that cache it on disk.
    return {
        "paths": {
            path: {"serverRelativeURL": f"{prefix}/openapi/v3/{path}?hash={VERSION['gitVersion']}"}
            for path in paths
        }
    }


def _openapi(group: str, version: str) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for kind in _kinds(group, version):
        namespace = "{namespace}" if kind.resource.namespaced else None
        paths[kind.resource.path(namespace, "{name}")] = {
            "patch": {
                "parameters": [
                    {"name": name, "in": "query", "schema": {"type": "string"}} for name in _PATCH_PARAMETERS
                ],
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {
                    "group": group,
                    "version": version,
                    "kind": kind.resource.kind,
                },
            }
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": "zenlead sandbox", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": {}},
    }
