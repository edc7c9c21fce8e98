"""The catalogue of kinds that the sandbox serves.

Knows names, verbs and subresources. Refuses to know the rules of a kind (see rules*.py). The rule: a kind
that is not listed here does not exist for any other room of the sandbox.
"""

from __future__ import annotations

import msgspec

from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, LEASES, NODES, PODS, SERVICES, Resource

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
CORE_EVENTS = Resource("", "v1", "events", "Event")
# Created only, never stored: the answer is in the response.
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Kind(msgspec.Struct, frozen=True):
    """One served kind. ``storage`` is where its objects live: the two Event kinds share theirs."""

    resource: Resource
    singular: str
    storage: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()  # those that can be read and written like the object: status
    actions: tuple[str, ...] = ()  # those that can only be created: binding, eviction
    verbs: tuple[str, ...] = ALL_VERBS
    graceful: bool = False  # deletion waits for whoever runs the object
    needs_version: bool = False  # PUT without resourceVersion is refused
    put_creates: bool = False  # PUT of an object that is not there creates it

    @property
    def where(self) -> tuple[str, str, str]:
        """Group, version and plural, which is how a path names a kind."""
        return (self.resource.group, self.resource.version, self.resource.plural)


KINDS = (
    Kind(CONFIG_MAPS, "configmap", "configmaps", ("cm",)),
    Kind(CORE_EVENTS, "event", "events", ("ev",), put_creates=True),
    Kind(NAMESPACES, "namespace", "namespaces", ("ns",), subresources=("status",)),
    Kind(NODES, "node", "nodes", ("no",), subresources=("status",)),
    Kind(
        PODS,
        "pod",
        "pods",
        ("po",),
        ("all",),
        subresources=("status",),
        actions=("binding", "eviction"),
        graceful=True,
    ),
    Kind(SERVICES, "service", "services", ("svc",), ("all",), subresources=("status",), put_creates=True),
    Kind(ENDPOINT_SLICES, "endpointslice", "endpointslices"),
    Kind(EVENTS, "event", "events", ("ev",), put_creates=True),
    Kind(LEASES, "lease", "leases", needs_version=True, put_creates=True),
    Kind(ACCESS_REVIEWS, "selfsubjectaccessreview", "", verbs=("create",)),
)

_BY_PATH = {kind.where: kind for kind in KINDS}
_BY_KIND = {(kind.resource.api_version, kind.resource.kind): kind for kind in KINDS}
# Which kind stands for a storage where only one may, e.g. when content of a namespace is removed.
BY_STORAGE = {kind.storage: kind for kind in reversed(KINDS) if kind.storage}


def find_kind(group: str, version: str, plural: str) -> Kind | None:
    """The kind served at that path, if any."""
    return _BY_PATH.get((group, version, plural))


def kind_named(api_version: str, kind: str) -> Kind | None:
    """The kind that an object or an ownerReference names, if it is served."""
    return _BY_KIND.get((api_version, kind))
