"""A cluster small enough to be pure: objects as JSON, and what the three writes do to them.

Knows resourceVersions, UIDs, merge patches and the API server's defaults for Services. Decodes with the
product's own wire structs. It refuses what the product must never send: ``Forbidden`` is a failed test.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from tests.unit.lead.builders import NAMESPACE, Json
from zenlead.lead import contract
from zenlead.lead.decide import decide
from zenlead.lead.desired import Desired, Snapshot
from zenlead.lead.wire import WirePod, WireService, WireSlice, decode
from zenlead.lead.writes import Create, Delete, Patch, Target, Write, diff

if TYPE_CHECKING:
    from zenlead.lead.views import PodView, ServiceView, SliceView

# As in the controller. The longest way: everything made anew, both families, and a conflict on the Service.
MAX_ROUNDS = 8


class Forbidden(AssertionError):
    """The product sent a write that breaks a rule of the contract."""


class World:
    """``source``, ``pods`` and the objects of both kinds by name. ``apply`` does one write."""

    def __init__(self, source: Json | None, pods: list[Json], rivals: list[Json] | None = None) -> None:
        self.source = source
        self.pods = pods
        self.rivals = rivals or []
        self.objects: dict[Target, dict[str, Json]] = {Target.SERVICES: {}, Target.SLICES: {}}
        self.zones: dict[str, str] = {}
        self._versions = itertools.count(100)
        self._uids = itertools.count(1)
        self.writes: list[Write] = []
        self.conflicts = 0

    def __repr__(self) -> str:
        """Enough to make it again."""
        return f"World(source={self.source}, pods={self.pods}, objects={self.objects}, zones={self.zones})"

    def put(self, target: Target, body: Json) -> None:
        self.objects[target][body["metadata"]["name"]] = body

    def services(self) -> list[ServiceView]:
        return [_view(WireService, body) for body in self.objects[Target.SERVICES].values()]

    def slices(self) -> list[SliceView]:
        return [_view(WireSlice, body) for body in self.objects[Target.SLICES].values()]

    def snapshot(self, order: list[int] | None = None) -> Snapshot:
        source = _view(WireService, self.source) if self.source else None
        name = source.name if source else "web"
        everyone: list[PodView] = [_view(WirePod, body) for body in self.pods]
        if order:
            everyone = [everyone[i] for i in order]
        ours = [s for s in self.services() if s.labels.get(contract.SOURCE_SERVICE) == name]
        slices = [s for s in self.slices() if s.labels.get(contract.SOURCE_SERVICE) == name]
        if source is None:
            return Snapshot(NAMESPACE, name, None, services=tuple(ours), slices=tuple(slices))
        selected = [p for p in everyone if source.selector and source.selector.items() <= p.labels.items()]
        names = [e.target_name for s in slices for e in s.endpoints]
        names += [s.annotations.get(contract.LEADER_POD_NAME, "") for s in ours]
        wanted = contract.parse_policy(name, source.annotations).leader_name
        return Snapshot(
            NAMESPACE,
            name,
            source,
            pods=tuple(selected),
            routed_pod=next((p for n in names for p in everyone if n and p.name == n), None),
            at_name=next((s for s in self.services() if s.name == wanted), None),
            services=tuple(ours),
            slices=tuple(slices),
            rivals=tuple(_view(WireService, body) for body in self.rivals),
            zones=tuple(self.zones.items()),
        )

    def settle(self, now: float) -> tuple[Desired, int]:
        """Decide, diff and apply until nothing is left; the last decision and the number of rounds."""
        for round_number in range(MAX_ROUNDS):
            seen = self.snapshot()
            desired = decide(seen, now)
            pending = diff(seen, desired)
            if not pending:
                return desired, round_number
            for write in pending:
                self.apply(write)
        raise AssertionError(f"still writing after {MAX_ROUNDS} rounds: {pending}")

    def apply(self, write: Write) -> None:
        self.writes.append(write)
        objects = self.objects[write.target]
        sent = msgspec.json.decode(write.body)
        known = objects.get(write.name)
        match write:
            case Create():
                if known is not None:
                    self.conflicts += 1
                    return
                objects[write.name] = self._made(write.target, sent)
            case Patch(subresource=subresource):
                self._patch(write, known, sent, subresource)
            case Delete():
                if known is None or sent["preconditions"]["uid"] != known["metadata"]["uid"]:
                    raise Forbidden(f"a deletion of what is not there: {write}")
                self._must_be_ours(write.target, known)
                del objects[write.name]

    def _patch(self, write: Patch, known: Json | None, sent: Json, subresource: str) -> None:
        if known is None:
            raise Forbidden(f"a patch of what is not there: {write}")
        version = sent.get("metadata", {}).get("resourceVersion")
        if not version:
            raise Forbidden(f"a patch without a precondition: {write}")
        if version != known["metadata"]["resourceVersion"]:
            self.conflicts += 1  # an earlier write of this round moved it; the next round tries again
            return
        self._must_be_ours(write.target, known)
        if subresource:
            patched = known | {"status": merged(known.get("status", {}), sent["status"])}
        else:
            patched = merged(known, sent)
        self.objects[write.target][write.name] = self._defaulted(write.target, patched)

    def _must_be_ours(self, target: Target, body: Json) -> None:
        meta = body["metadata"]
        key = contract.MANAGED_BY if target is Target.SERVICES else contract.SLICE_MANAGED_BY
        owners = [o for o in meta.get("ownerReferences") or () if o.get("controller")]
        if (meta.get("labels") or {}).get(key) != contract.MANAGER or not owners:
            raise Forbidden(f"a write on somebody else's {target}: {meta}")
        if target is Target.SERVICES and self.source and owners[0]["uid"] != self.source["metadata"]["uid"]:
            raise Forbidden(f"a write on another source's {target}: {meta}")

    def _made(self, target: Target, sent: Json) -> Json:
        sent["metadata"]["uid"] = f"made-{next(self._uids)}"
        return self._defaulted(target, sent)

    def _defaulted(self, target: Target, body: Json) -> Json:
        """What the API server fills in."""
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        if target is Target.SERVICES:
            spec = body["spec"]
            spec.setdefault("ipFamilies", ["IPv4"])
            spec.setdefault("ipFamilyPolicy", "SingleStack")
            for port in spec.get("ports") or ():
                port.setdefault("protocol", "TCP")
                port.setdefault("targetPort", port["port"])
        return body


def merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _view(wire: type[Any], body: Json) -> Any:
    return decode(wire, msgspec.json.encode(body))
